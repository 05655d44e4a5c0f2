import SafeSQL

extension RetentionSchema {
  /// `060_backfill.sql`: counts what the tables held before their triggers.
  func backfill() -> Artefact {
    let edges = model.references.map { "\($0.table) (\($0.columns.joined(separator: ", ")))" }
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
