import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// The three roles, none of which may log in: people and programs are made members.
  private var roles: (application: Identifier, reader: Identifier, operator: Identifier) {
    (names.identifier("application"), names.identifier("reader"), names.identifier("operator"))
  }

  /// `optional/roles.sql`: who may do what.
  func grants() -> Artefact {
    let (application, reader, `operator`) = roles
    let create = [application, reader, `operator`].map { role -> SQL in
      """
      IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = \(literal: role.name)) THEN
        CREATE ROLE \(role) NOLOGIN;
      END IF;
      """
    }
    let createRoles: SQL = """
      BEGIN
        \(SQL.joined(create, separator: "\n"))
        -- The runner's record, where the files were applied with the runner.
        IF pg_catalog.to_regclass(\(literal(names.qualified("schema_migrations")))) IS NOT NULL THEN
          GRANT SELECT ON \(names.qualified("schema_migrations")) TO \(reader);
        END IF;
      END
      """
    let readable = [
      names.qualified("references"), names.qualified("\(blobs.singular)_refcounts"),
      names.qualified("counting_triggers"),
      storage, storageHistory, names.qualified("metrics"), names.qualified("health"), policy, runs, totals, unresolved,
      anomalies, locations, neededObjects, uploads, deletions, archive, archiveContents,
    ].map { name -> SQL in "\(name)" }
    let questions = ["cleanup_preview", "verify_refcounts", "referrers"].map { name -> SQL in "\(names.qualified(name))"
    }
    // A view asks for its caller's right to the functions in it, which everybody has only by default.
    let viewFunctions = [backlog, names.qualified("scan_hashes"), names.qualified("blob_object_key")].map {
      name -> SQL in
      "\(name)"
    }
    let steps =
      ["cleanup_start", "cleanup_hold", "cleanup_fold", "cleanup_finish"].map { names.qualified($0) }
      + (model.classes.map(\.name) + [blobs.plural, purge]).map { names.qualified("cleanup_\($0)_batch") }
    let orders =
      (steps
      + (["fold_references", "repair_refcounts", "touch_\(blobs.plural)", "undo_cleanup"] + uploadFunctionNames
      + moveFunctionNames)
      .map { names.qualified($0) }).map { name -> SQL in "\(name)" }
    let settings =
      (["retention_days"] + (model.classes.map(\.name) + [blobs.plural]).map { "\($0)_retention_days" }
      + [
        "dry_run", "batch_size", "batch_pause", "max_duration", "protected_statuses", "max_delete_fraction",
        "offload_threshold_bytes", "max_inline_bytes", "archive_days",
      ]).map { column -> SQL in "\(Identifier(column))" }
    return Artefact(
      path: "optional/roles.sql",
      kind: .repeatable,
      purpose: [
        "Roles to grant to people and programs; none of them may log in. Apply it after the other files, and again after",
        "a file that adds an object.",
        "\(application.quoted): submits and uploads. \(reader.quoted): looks at metrics, runs, counts; reads no blob.",
        "\(`operator`.quoted): a reader who may also clean up and undo it, fold, repair and change the policy.",
      ],
      locks: ["none on tables"],
      body: """
        DO \(createRoles.dollarQuoted());

        GRANT USAGE ON SCHEMA \(names.schema) TO \(application), \(reader), \(`operator`);

        -- It cannot delete: that is the retention's work. refcount is the database's whatever it writes there.
        GRANT SELECT, INSERT, UPDATE ON
          \(SQL.joined(model.tables.map { "\(names.table($0.name))" }))
        TO \(application);
        GRANT EXECUTE ON FUNCTION
          \(SQL.joined((["touch_\(blobs.plural)"] + uploadFunctionNames + ["blob_object_key"]).map { "\(names.qualified($0))" }))
        TO \(application);
        GRANT SELECT ON \(locations) TO \(application);
        -- From which size on a blob goes into the object store.
        GRANT SELECT (offload_threshold_bytes) ON \(policy) TO \(application);

        GRANT SELECT ON
          \(SQL.joined(readable))
        TO \(reader);
        GRANT EXECUTE ON FUNCTION
          \(SQL.joined(questions + viewFunctions))
        TO \(reader);

        GRANT \(reader) TO \(`operator`);
        GRANT EXECUTE ON PROCEDURE \(names.qualified("cleanup")), \(names.qualified("cleanup_next_transaction")) TO \(`operator`);
        GRANT EXECUTE ON FUNCTION
          \(SQL.joined(orders))
        TO \(`operator`);
        GRANT UPDATE (
          \(SQL.joined(settings))
        ) ON \(policy) TO \(`operator`);
        -- Who moves a blob reads it.
        GRANT SELECT ON \(blobTable) TO \(`operator`);
        """
    )
  }

  /// `uninstall/roles.sql`: takes back what `optional/roles.sql` has given.
  func revokedGrants() -> Artefact {
    let (application, reader, `operator`) = roles
    let given = [`operator`, reader, application].map { role -> SQL in "\(literal: role.name)" }
    let schema: SQL = "\(literal: names.schema.name)"
    let body: SQL = """
      DECLARE
        role_name name;
        statement text;
      BEGIN
        FOREACH role_name IN ARRAY ARRAY[\(SQL.joined(given, separator: ", "))]::name[] LOOP
          CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = role_name);
          FOR statement IN
            -- Who may not give rights to an object cannot take them back: REVOKE would fail.
            SELECT pg_catalog.format('REVOKE ALL ON TABLE %s FROM %I', c.oid::pg_catalog.regclass, role_name)
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = \(schema) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
              AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
            UNION ALL
            SELECT pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM %I', f.oid::pg_catalog.regprocedure, role_name)
            FROM pg_catalog.pg_proc AS f
            JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
            WHERE n.nspname = \(schema) AND pg_catalog.pg_has_role(f.proowner, 'USAGE')
            UNION ALL
            SELECT pg_catalog.format('REVOKE ALL ON SCHEMA %I FROM %I', n.nspname, role_name)
            FROM pg_catalog.pg_namespace AS n
            WHERE n.nspname = \(schema) AND pg_catalog.has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION')
          LOOP
            EXECUTE statement;
          END LOOP;
          BEGIN
            EXECUTE pg_catalog.format('DROP ROLE %I', role_name);
          EXCEPTION WHEN dependent_objects_still_exist THEN
            RAISE NOTICE 'role % stays: it has rights elsewhere', role_name;
          END;
        END LOOP;
      END
      """
    return Artefact(
      path: "uninstall/roles.sql",
      kind: .repeatable,
      purpose: [
        "Takes back all that the roles of optional/roles.sql may do in this schema with what the installer owns, whoever has",
        "granted it, and drops those of them that have no rights elsewhere.",
      ],
      locks: ["none on tables"],
      body: "DO \(body.dollarQuoted());"
    )
  }
}
