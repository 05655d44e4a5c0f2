import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `060_backfill.sql`: counts what the tables held before their triggers.
  func backfill() -> Artefact {
    let edges = model.references.map { "\($0.table) (\(description(of: $0)))" }
    return Artefact(
      path: "060_backfill.sql",
      kind: .repeatable,
      purpose: [
        "Counts the references that rows held before their triggers came, and corrects what clients wrote into refcount.",
        "References: \(edges.joined(separator: ", ")).",
      ],
      locks: ["no table locks; the rows of corrected blobs until COMMIT: submits go on, a put of such a blob waits"],
      body: """
        DO \(refuseLongKeys.dollarQuoted());

        SELECT \(names.qualified("repair_refcounts"))();
        """
    )
  }

  /// Another text for whatever yields other keys: the file is applied again when its text has changed.
  private func description(of edge: Reference) -> String {
    let columns = edge.columns.joined(separator: ", ")
    switch edge.kind {
    case .expression(let sql, _): return "\(columns): \(sql)"
    case .scan(let column) where columnType(of: column, in: edge.table) == keyType.text: return "\(columns), scanned"
    case .scalar, .array, .scan: return columns
    }
  }

  private var refuseLongKeys: SQL {
    """
    BEGIN
      IF EXISTS (SELECT FROM \(blobTable) AS b WHERE pg_catalog.octet_length(b.\(key)) > \(Self.maximumKeyBytes)) THEN
        RAISE EXCEPTION USING
          MESSAGE = \(literal: "\(blobs.table) has keys of more than \(Self.maximumKeyBytes) bytes, whose references would not be counted"),
          ERRCODE = 'program_limit_exceeded', HINT = 'Give those rows shorter keys first.';
      END IF;
    END
    """
  }
}
