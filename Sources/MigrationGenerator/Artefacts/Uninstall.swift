import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `uninstall/uninstall.sql`: removes what the other files added.
  func uninstall() -> Artefact {
    let signatureless = ["cleanup", "cleanup_next_transaction"].map { name -> SQL in
      "DROP PROCEDURE IF EXISTS \(names.qualified(name));"
    }
    let functions =
      ["cleanup_start", "cleanup_hold", "cleanup_fold", "cleanup_finish", "add_to_totals", "backlog"]
      + (model.classes.map(\.name) + [blobs.plural, purge]).map { "cleanup_\($0)_batch" }
      + archiveFunctionNames + [
        "cleanup_preview", "repair_refcounts", "fold_references", "touch_\(blobs.plural)", "referrers",
        "verify_refcounts",
      ] + uploadFunctionNames + moveFunctionNames
    let triggerFunctions = triggerFunctionNames + ["total_run", "total_anomaly"].map { names.identifier($0) }
    let views = [
      "metrics", "health", "counting_triggers", "storage", "archive_contents", "blob_needed_objects", "blob_locations",
      "\(blobs.singular)_refcounts",
      "references",
    ]
    return Artefact(
      path: "uninstall/uninstall.sql",
      kind: .repeatable,
      purpose: [
        "Removes everything that the retention has added; the application's tables and their rows stay, and so do the indexes",
        "of their foreign keys, which may be older than the retention. refcount keeps its last values and is nobody's from",
        "then on.",
      ],
      locks: ["ACCESS EXCLUSIVE on each counted table until COMMIT"],
      lintException: .init(
        rules: [
          "ban-drop-constraint", "ban-drop-function", "ban-drop-sequence", "ban-drop-table", "ban-drop-view",
          "require-concurrent-index-deletion",
        ],
        reason: [
          "To remove these is what this file is for, all of them or none. So it is one transaction, in which no index can",
          "be dropped CONCURRENTLY; its tables are locked for their triggers anyway.",
        ]
      ),
      body: .joined(
        [
          lockTables(
            referringTables.map { names.table($0.table.name) } + [blobTable]
              + retentionTableNames.map { names.qualified($0) },
            "'ACCESS EXCLUSIVE'",
            droppingTriggersOf: formerFunctions
          ),
          "",
          refuseToForgetObjects,
          "",
          removeFormerFunctions(""),
          "",
        ]
          + signatureless
          // The functions of triggers take their triggers along.
          + triggerFunctions.map { "DROP FUNCTION IF EXISTS \(QualifiedName(names.schema, $0)) CASCADE;" }
          + ["DROP FUNCTION IF EXISTS \(names.qualified("cleanup_finish"));"]
          + views.prefix(7).map { "DROP VIEW IF EXISTS \(names.qualified($0));" }
          + functions.filter { $0 != "cleanup_finish" }.map { "DROP FUNCTION IF EXISTS \(names.qualified($0));" }
          + views.suffix(2).map { "DROP VIEW IF EXISTS \(names.qualified($0));" }
          + ["scan_hashes", "blob_object_key"].map { "DROP FUNCTION IF EXISTS \(names.qualified($0));" }
          + [dropRefcountCheck]
          + indexList.filter { !$0.isOfForeignKey }
          .map { "DROP INDEX IF EXISTS \(QualifiedName(names.schema, $0.name));" }
          + retentionTableNames.map { "DROP TABLE IF EXISTS \(names.qualified($0));" }
          + [adjustments, archiveEntries].map { "DROP SEQUENCE IF EXISTS \($0);" },
        separator: "\n"
      )
    )
  }

  /// The application may have a constraint of this name, which 050 has left alone. The retention's is never validated.
  private var dropRefcountCheck: SQL {
    let constraint = names.identifier(of: blobs.table, "refcount_check")
    let body: SQL = """
      BEGIN
        IF EXISTS (
          SELECT FROM pg_catalog.pg_constraint AS c
          WHERE c.conrelid = pg_catalog.to_regclass(\(literal(blobTable))) AND c.conname = \(literal: constraint.name)
            AND NOT c.convalidated
        ) THEN
          ALTER TABLE \(blobTable) DROP CONSTRAINT \(constraint);
        END IF;
      END
      """
    return "DO \(body.dollarQuoted());"
  }

  /// Objects whose names only the retention knows. After another installation their blobs would be looked for elsewhere.
  private var refuseToForgetObjects: SQL {
    let body: SQL = """
      DECLARE
        renamed  bigint;
        archived bigint;
        waiting  bigint;
      BEGIN
        IF pg_catalog.to_regclass(\(literal: archivedBlobs.archive.quoted)) IS NULL THEN
          RETURN;
        END IF;
        SELECT count(*) INTO renamed
        FROM \(objects) AS g
        JOIN \(blobTable) AS b ON b.\(key) = g.hash
        WHERE g.generation > 0 AND \(isExternal("b"));
        SELECT count(*) INTO archived FROM \(archivedBlobs.archive) AS a WHERE a.\(archivedBlobs.generation) IS NOT NULL;
        SELECT (SELECT count(*) FROM \(uploads)) + (SELECT count(*) FROM \(deletions)) INTO waiting;
        IF renamed + archived + waiting > 0 THEN
          RAISE EXCEPTION 'objects would be forgotten: % blobs are in objects with another name than their hash, % objects are archived, % are being uploaded or wait to be deleted',
            renamed, archived, waiting
            USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = \(literal: "jam-retention restore brings blobs back; with archive_days = 0 a cleanup purges the archive; jam-retention sweep deletes. Where the object store is gone: TRUNCATE \(objects.quoted), \(archivedBlobs.archive.quoted), \(uploads.quoted), \(deletions.quoted).");
        END IF;
      END
      """
    return "DO \(body.dollarQuoted());"
  }
}
