import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `028_archive_tables.sql`: where a cleanup puts what it deletes, as long as the policy keeps it.
  func archiveTables() -> Artefact {
    let runColumns: [(name: String, type: SQL, comment: String)] = [
      (
        "archived_rows", "bigint NOT NULL DEFAULT 0",
        "Those of the deleted rows that went into the archive; in a dry run those that would."
      ),
      (
        "archived_bytes", "bigint NOT NULL DEFAULT 0",
        "Bytes of the deleted \(blobs.plural) that went into the archive: not freed yet."
      ),
      ("purged_rows", "bigint NOT NULL DEFAULT 0", "Rows of older runs that this run has taken out of the archive."),
      ("purged_bytes", "bigint NOT NULL DEFAULT 0", "Bytes of the purged \(blobs.plural): part of freed_bytes."),
      (
        "purged_at", "timestamptz", "When a later run has purged what this one had archived; it cannot be undone since."
      ),
      ("undone_at", "timestamptz", "When what this run had archived was last brought back."),
      ("undone_rows", "bigint NOT NULL DEFAULT 0", "Rows of this run that are back."),
      ("undone_bytes", "bigint NOT NULL DEFAULT 0", "Bytes of those of them that are \(blobs.plural)."),
    ]
    let comments = runColumns.map { column -> SQL in
      "COMMENT ON COLUMN \(runs).\(Identifier(column.name)) IS \(literal: column.comment);"
    }
    return Artefact(
      path: "028_archive_tables.sql",
      kind: .versioned,
      purpose: [
        "The archive: rows that a cleanup has deleted, with the run that did it, as long as archive_days of the policy says.",
        "A table for each table of a class, of its parts and of the blobs; a column that the model does not know is kept too.",
      ],
      locks: [
        "ACCESS EXCLUSIVE on \(policy.quoted) and \(runs.quoted) for an instant, to add columns; a put waits for that"
      ],
      lintException: .init(
        rules: ["prefer-bigint-over-int"],
        reason: [
          "The integers are days, which a CHECK holds far below the largest integer, generations of one object, and the",
          "application's own columns.",
        ]
      ),
      body: .joined(
        [
          lockTables([policy, runs], "'ACCESS EXCLUSIVE'"),
          """
          ALTER TABLE \(policy)
            ADD COLUMN IF NOT EXISTS archive_days integer NOT NULL DEFAULT 0 CHECK (archive_days BETWEEN 0 AND 36500);
          COMMENT ON COLUMN \(policy).archive_days IS 'Days for which a cleanup keeps what it deletes, so that it can be undone; 0: not at all, and the next cleanup purges what is archived.';

          ALTER TABLE \(runs)
            \(SQL.joined(runColumns.map { "ADD COLUMN IF NOT EXISTS \(Identifier($0.name)) \($0.type)" }));
          \(SQL.joined(comments, separator: "\n"))
          COMMENT ON COLUMN \(runs).freed_bytes IS \(literal: "Bytes of the \(blobs.plural) that are given up: deleted without an archive, or purged.");
          COMMENT ON COLUMN \(runs).external_blobs IS \(literal: "Those of the \(blobs.plural) given up whose content is in the object store; it goes when the queue of deletions is worked off.");

          CREATE TABLE IF NOT EXISTS \(archive) (
            run_id         bigint NOT NULL,
            data_class     text NOT NULL,
            archived_at    timestamptz NOT NULL DEFAULT now(),
            rows           bigint NOT NULL,
            bytes          bigint NOT NULL,
            external_rows  bigint NOT NULL,
            external_bytes bigint NOT NULL,
            PRIMARY KEY (run_id, data_class)
          );
          COMMENT ON TABLE \(archive) IS 'What is in the archive, by run and class; rows 0: purged, while others of the run are there.';
          COMMENT ON COLUMN \(archive).archived_at IS 'When the last of these rows came.';
          COMMENT ON COLUMN \(archive).bytes IS 'Of blobs their size, of other rows what their columns took on disk.';
          COMMENT ON COLUMN \(archive).external_bytes IS 'That part of bytes that is in the object store.';

          -- One for all tables: a batch of a purge is a range of entries.
          CREATE SEQUENCE IF NOT EXISTS \(archiveEntries);
          COMMENT ON SEQUENCE \(archiveEntries) IS 'Numbers the rows of the archive.';
          """,
        ] + archivedTables.map(createTable),
        separator: "\n\n"
      )
    )
  }

  var archive: QualifiedName { names.qualified("archive") }
  var archiveEntries: QualifiedName { names.qualified("archive_entries") }

  /// The tables whose rows a cleanup deletes, in the order in which it does, each with its archive.
  var archivedTables: [ArchivedTable] {
    let parts = model.classes.flatMap { dataClass in
      [(dataClass.name, dataClass.table)] + dataClass.parts.map { ($0.name, $0.table) }
    }
    return (parts + [(blobs.plural, blobs.table)]).map { name, tableName in
      ArchivedTable(
        name: name,
        table: table(tableName),
        source: names.table(tableName),
        archive: names.qualified("archived_\(name)"),
        isBlobs: tableName == blobs.table
      )
    }
  }

  /// The archive of the blobs.
  var archivedBlobs: ArchivedTable {
    guard let blobs = archivedTables.last else { preconditionFailure("a model without blobs was not validated") }
    return blobs
  }

  private func createTable(_ archived: ArchivedTable) -> SQL {
    var columns: [SQL] = [
      "\(archived.run) bigint NOT NULL",
      "\(archived.entry) bigint NOT NULL DEFAULT nextval(\(literal(archiveEntries)))",
      "\(archived.archivedAt) timestamptz NOT NULL DEFAULT now()",
      "\(archived.bytes) bigint NOT NULL",
      "\(archived.others) json",
    ]
    if archived.isBlobs { columns += ["\(archived.putAt) timestamptz", "\(archived.generation) integer"] }
    columns += archived.table.columns.map { "\(Identifier($0.name)) \(raw: $0.type)" }
    columns.append("PRIMARY KEY (\(archived.run), \(archived.entry))")
    var statements: [SQL] = [
      """
      CREATE TABLE IF NOT EXISTS \(archived.archive) (
        \(SQL.joined(columns))
      );
      COMMENT ON TABLE \(archived.archive) IS \(literal: "Rows of \(archived.table.name) that cleanups have deleted, until they are brought back or purged.");
      COMMENT ON COLUMN \(archived.archive).\(archived.others) IS 'What the row had in columns that the retention model does not know: each value as the text that the input function of its type reads.';
      """
    ]
    if archived.isBlobs {
      statements.append(
        """
        CREATE INDEX IF NOT EXISTS \(names.identifier("archived_objects_idx")) ON \(archived.archive) (\(key)) WHERE \(archived.generation) IS NOT NULL;
        COMMENT ON COLUMN \(archived.archive).\(archived.putAt) IS 'When it was last put again or touched.';
        COMMENT ON COLUMN \(archived.archive).\(archived.generation) IS 'The object that has its content, which stays in the store meanwhile; NULL: the content is in the row.';
        """
      )
    }
    return .joined(statements, separator: "\n")
  }
}
