import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `050_triggers.sql`: counting on the referring tables, and what guards the blob table.
  func countingTriggers() -> Artefact {
    let mode: [String] =
      switch model.refcounting {
      case .immediate:
        [
          "Mode immediate: a change is applied to the blobs that nobody has locked; the rest goes to the ledger.",
          looksUpByKeyNote,
        ]
      case .deferred: ["Mode deferred: every change goes to the ledger; a fold applies it."]
      }
    return Artefact(
      path: "050_triggers.sql",
      kind: .repeatable,
      purpose: [
        "Triggers that count references, and that make the database the owner of refcount. Removes those of tables in which",
        "the model has no references any more.",
      ] + mode,
      locks: [
        "SHARE ROW EXCLUSIVE on each table until COMMIT: waits for running writers, then new ones wait for an instant;",
        "the first time ACCESS EXCLUSIVE on \(blobs.table), for the check of refcount, and on a table that loses triggers",
      ],
      body: .joined(
        [
          lockTables(
            referringTables.map { names.table($0.table.name) } + [blobTable],
            "CASE WHEN t = \(literal(blobTable)) AND NOT \(hasRefcountCheck) THEN 'ACCESS EXCLUSIVE' ELSE 'SHARE ROW EXCLUSIVE' END",
            droppingTriggersOf: formerFunctions
          ),
          removeFormerFunctions(
            """
            -- A repair may have taken off already what they counted. Until a fold has counted everything again, no blob goes.
            INSERT INTO \(ledger) (hash, delta) VALUES (NULL, 0);
            """
          ),
        ]
          + referringTables.flatMap { table, edges in
            [changesFunction(table, edges), updateFunction(table, edges), triggers(table, edges)]
          }
          + [guardFunctions, blobTriggers],
        separator: "\n\n"
      )
    )
  }

  private static let countingPurposes = ["count_rows", "count_update"]
  private static let blobPurposes = ["own_refcount", "record_put", "refuse_delete", "record_rows", "record_size"]

  /// The functions of the file, for removal.
  var triggerFunctionNames: [Identifier] {
    referringTables.flatMap { table, _ in Self.countingPurposes.map { names.identifier(of: table.name, $0) } }
      + Self.blobPurposes.map { names.identifier(of: blobs.table, $0) }
  }

  /// A query of the functions that an earlier model had for its triggers, and that this one has not: their names end as
  /// the file's own do, and they are about this installation's tables.
  var formerFunctions: SQL {
    let ending = (Self.countingPurposes + Self.blobPurposes).joined(separator: "|")
    let own = [ledger, storageLedger, names.qualified("\(blobs.singular)_refcounts")]
    return """
      SELECT p.oid
      FROM pg_catalog.pg_proc AS p
      JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
      WHERE n.nspname = \(literal: names.schema.name) AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype
        AND p.proname ~ \(literal: "_(\(ending))$")
        AND EXISTS (
          SELECT FROM (VALUES \(SQL.joined(own.map { "(\(literal($0)))" }, separator: ", "))) AS o (name)
          WHERE pg_catalog.strpos(p.prosrc, o.name) > 0
        )
        AND NOT EXISTS (
          SELECT FROM (VALUES
            \(SQL.joined(triggerFunctionNames.map { "(\(literal: $0.name))" }))
          ) AS e (name)
          WHERE e.name = p.proname
        )
      """
  }

  /// Drops them; the tables have been locked.
  ///
  /// - Parameter end: what is done after that, where there were any.
  func removeFormerFunctions(_ end: SQL) -> SQL {
    let body: SQL = """
      DECLARE
        former record;
      BEGIN
        FOR former IN
          SELECT f.oid::pg_catalog.regprocedure AS name, (
            SELECT pg_catalog.string_agg(DISTINCT g.tgrelid::pg_catalog.regclass::text, ', ') FROM pg_catalog.pg_trigger AS g
            WHERE g.tgfoid = f.oid
          ) AS tables
          FROM (
            \(formerFunctions)
          ) AS f
        LOOP
          RAISE NOTICE '% is dropped with its triggers (tables: %): the model has no use for it any more', former.name,
            coalesce(former.tables, 'none');
          EXECUTE pg_catalog.format('DROP FUNCTION %s CASCADE', former.name);
        END LOOP;\(end.isEmpty ? "" : "\nIF FOUND THEN\n  \(end)\nEND IF;")
      END
      """
    return """
      -- References that have left the model are taken off by the next repair. A trigger that went on counting them would take
      -- them off once more, and a blob that something else holds would go.
      DO \(body.dollarQuoted());
      """
  }

  /// Appends the changes of a statement to the ledger, or, in immediate mode, what could not be applied at once.
  ///
  /// `changes` is a query of hash and delta that has taken the shared locks; one row per hash where it is to be applied.
  /// The plan is made once a session, for a single row or for a hundred thousand, and the planner takes `changed` for one
  /// row whatever it holds. So no two of the steps are joined by the planner's choice: each carries on what the next one
  /// needs, blobs are looked up by their key, and what is left over is a difference of sets.
  private func record(_ changes: SQL) -> SQL {
    let append: SQL = """
      INSERT INTO \(ledger) (hash, delta)
      \(changes);
      """
    guard model.refcounting == .immediate else { return append }
    return """
      -- A row that has changed since the snapshot could not be locked above READ COMMITTED, and at SERIALIZABLE even
      -- reading it can fail: there the ledger takes all, so that counting never causes a serialization failure.
      IF current_setting('transaction_isolation') <> 'read committed' THEN
        \(append)
      ELSE
        WITH changed AS MATERIALIZED (
          \(changes)
        ), free AS MATERIALIZED (
          -- A locked row is left alone: nobody waits.
          SELECT c.hash, c.delta, l.stored + c.delta AS expected
          FROM changed AS c
          CROSS JOIN LATERAL (
            SELECT b.\(refcount) AS stored FROM \(blobTable) AS b WHERE b.\(key) = c.hash FOR NO KEY UPDATE SKIP LOCKED
          ) AS l
        ), applied AS (
          UPDATE \(blobTable) AS b
          SET \(refcount) = f.expected
          FROM free AS f
          WHERE b.\(key) = f.hash AND f.expected >= 0
          RETURNING f.hash, f.delta, b.\(refcount) = f.expected AS is_stored, nextval(\(literal(adjustments)))
        )
        -- Into the ledger goes whatever was not stored in a row just now.
        INSERT INTO \(ledger) (hash, delta)
        SELECT c.hash, c.delta FROM changed AS c
        EXCEPT ALL
        SELECT a.hash, a.delta FROM applied AS a WHERE a.is_stored;
      END IF;
      """
  }

  private var triggerRights: SQL {
    switch model.refcounting {
    case .deferred: "\(ownerRights)"
    case .immediate: "\(ownerRights) \(looksUpByKey) \(marksOwnChanges)"
    }
  }

  private func functionName(_ table: Table, _ purpose: String) -> QualifiedName {
    QualifiedName(names.schema, names.identifier(of: table.name, purpose))
  }

  private func changesFunction(_ table: Table, _ edges: [Reference]) -> SQL {
    let function = functionName(table, "count_rows")
    let gained: SQL =
      switch model.refcounting {
      case .immediate:
        """
        SELECT e.hash, count(*) AS delta
        FROM (
          \(keys(of: edges, from: "gained"))
        ) AS e
        WHERE \(isKey("e.hash"))
        GROUP BY e.hash
        -- Waits only for a deletion of these very blobs.
        HAVING \(lockShared("e.hash"))
        """
      // Adding up takes longer than appending does, and a submit rarely names a blob twice; the fold adds up anyway.
      case .deferred:
        """
        SELECT e.hash, 1 AS delta
        FROM (
          \(keys(of: edges, from: "gained"))
        ) AS e
        WHERE \(isKey("e.hash"))
          -- Waits only for a deletion of these very blobs.
          AND \(lockShared("e.hash"))
        """
      }
    let lost: SQL = """
      SELECT e.hash, -count(*) AS delta
      FROM (
        \(keys(of: edges, from: "lost"))
      ) AS e
      WHERE \(isKey("e.hash"))
      GROUP BY e.hash
      """
    // TRUNCATE holds its lock on the whole table already and cannot see what other snapshots see; the ledger takes it all.
    let body: SQL = """
      #variable_conflict use_column
      BEGIN
        IF TG_OP = 'INSERT' THEN
          \(record(gained))
        ELSIF TG_OP = 'DELETE' THEN
          \(record(lost))
        ELSE
          INSERT INTO \(ledger) (hash, delta)
          SELECT e.hash, -count(*)
          FROM (
            \(keys(of: edges, from: "ONLY \(names.table(table.name))"))
          ) AS e
          WHERE \(isKey("e.hash"))
          GROUP BY e.hash;
          \(recountAboveReadCommitted)
        END IF;
        RETURN NULL;
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)() RETURNS trigger
      LANGUAGE plpgsql \(triggerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)() IS \(literal: "Counts the references of rows that come to or go from \(table.name).");
      \(revoke("FUNCTION", "\(function)()"))
      """
  }

  private var recountAboveReadCommitted: SQL {
    """
    -- An old snapshot does not see every row that a TRUNCATE removes, and sees rows whose references others have taken
    -- back already: until the next fold counts again, counts may be too high or too low.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      INSERT INTO \(ledger) (hash, delta) VALUES (NULL, 0);
    END IF;
    """
  }

  private func updateFunction(_ table: Table, _ edges: [Reference]) -> SQL {
    let function = functionName(table, "count_update")
    func row(_ version: SQL) -> SQL {
      let columns = distinct(edges.flatMap(\.columns)).map { column -> SQL in
        "\(version).\(Identifier(column)) AS \(Identifier(column))"
      }
      return "(SELECT \(SQL.joined(columns, separator: ", ")))"
    }
    let changes: SQL = """
      SELECT e.hash, sum(e.delta)::bigint AS delta
      FROM (
        \(keys(of: edges, from: row("NEW"), selecting: ", 1 AS delta"))
        UNION ALL
        \(keys(of: edges, from: row("OLD"), selecting: ", -1 AS delta"))
      ) AS e
      WHERE \(isKey("e.hash"))
      GROUP BY e.hash
      HAVING sum(e.delta) <> 0 AND \(lockShared("e.hash"))
      """
    let body: SQL = """
      #variable_conflict use_column
      BEGIN
        \(record(changes))
        RETURN NULL;
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)() RETURNS trigger
      LANGUAGE plpgsql \(triggerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)() IS \(literal: "Counts the change of references when a row of \(table.name) is updated.");
      \(revoke("FUNCTION", "\(function)()"))
      """
  }

  private func triggers(_ table: Table, _ edges: [Reference]) -> SQL {
    let rows = functionName(table, "count_rows")
    let update = functionName(table, "count_update")
    let changed = SQL.joined(distinct(edges.flatMap(\.columns)).map { hasChanged($0, edges) }, separator: " OR ")
    let target = names.table(table.name)
    return """
      CREATE OR REPLACE TRIGGER \(names.identifier(of: table.name, "count_insert"))
        AFTER INSERT ON \(target) REFERENCING NEW TABLE AS gained
        FOR EACH STATEMENT EXECUTE FUNCTION \(rows)();
      CREATE OR REPLACE TRIGGER \(names.identifier(of: table.name, "count_delete"))
        AFTER DELETE ON \(target) REFERENCING OLD TABLE AS lost
        FOR EACH STATEMENT EXECUTE FUNCTION \(rows)();
      CREATE OR REPLACE TRIGGER \(names.identifier(of: table.name, "count_truncate"))
        BEFORE TRUNCATE ON \(target)
        FOR EACH STATEMENT EXECUTE FUNCTION \(rows)();
      -- Without a column list: a BEFORE trigger of the application may change a reference that the UPDATE does not name.
      CREATE OR REPLACE TRIGGER \(names.identifier(of: table.name, "count_update"))
        AFTER UPDATE ON \(target)
        FOR EACH ROW WHEN (\(changed))
        EXECUTE FUNCTION \(update)();
      """
  }

  /// Whether an update has changed a column. What only expressions read can be of any type, json and point among them,
  /// which have no equality: of such values the bytes are compared.
  private func hasChanged(_ column: String, _ edges: [Reference]) -> SQL {
    let name = Identifier(column)
    let isOfAnyType = edges.allSatisfy { edge in
      if case .expression = edge.kind { true } else { !edge.columns.contains(column) }
    }
    // The function and not its operator *<>, which between two rows would be asked for each pair of their columns.
    return isOfAnyType
      ? "pg_catalog.record_image_ne(ROW(OLD.\(name)), ROW(NEW.\(name)))" : "OLD.\(name) IS DISTINCT FROM NEW.\(name)"
  }

  private func distinct(_ columns: [String]) -> [String] {
    columns.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }

  private var blobFunction:
    (own: QualifiedName, put: QualifiedName, deletion: QualifiedName, rows: QualifiedName, size: QualifiedName)
  {
    let blobTable = table(blobs.table)
    return (
      functionName(blobTable, "own_refcount"), functionName(blobTable, "record_put"),
      functionName(blobTable, "refuse_delete"), functionName(blobTable, "record_rows"),
      functionName(blobTable, "record_size")
    )
  }

  private var guardFunctions: SQL {
    let function = blobFunction
    let size = Identifier(blobs.size)
    let recordPut: SQL = """
      -- Keeps a deletion away until this put is committed and seen.
      PERFORM pg_advisory_xact_lock_shared(\(lockNamespace), \(bucket("NEW.\(key)")));
      INSERT INTO \(ledger) (hash, delta, recorded_at, is_put) VALUES (NEW.\(key), 0, clock_timestamp(), true);
      """
    let own: SQL = """
      DECLARE
        checks_size boolean;
        limit_bytes bigint;
      BEGIN
        IF TG_OP = 'INSERT' THEN
          IF octet_length(NEW.\(key)) > \(Self.maximumKeyBytes) THEN
            RAISE EXCEPTION 'the key of a \(comment: blobs.singular) has % bytes, which is too long to be referred to (limit: \(Self.maximumKeyBytes) bytes)',
              octet_length(NEW.\(key)) USING ERRCODE = 'program_limit_exceeded';
          END IF;
          NEW.\(refcount) := 0;
          checks_size := true;
          -- ON CONFLICT DO NOTHING leaves the row that is there as it is, and is a put all the same.
          IF EXISTS (SELECT FROM \(blobTable) AS b WHERE b.\(key) = NEW.\(key)) THEN
            \(recordPut)
          END IF;
        ELSE
          IF NEW.\(key) <> OLD.\(key) THEN
            RAISE EXCEPTION 'the key of a \(comment: blobs.singular) cannot be changed'
              USING ERRCODE = 'feature_not_supported', HINT = 'Insert the new one and delete the old one.';
          END IF;
          NEW.\(refcount) := OLD.\(refcount);
          checks_size := NEW.\(size) IS DISTINCT FROM OLD.\(size);
          -- Who saves a row as it was before its content moved does not give the object up.
          IF \(isExternal("OLD")) AND NEW.\(Identifier(blobs.data)) IS NULL THEN
            NEW.\(Identifier(blobs.storageClass)) := OLD.\(Identifier(blobs.storageClass));
          END IF;
        END IF;
        -- Sizes are added up: one that no blob can have would stop every fold and cleanup.
        IF checks_size AND NOT \(isSize("NEW.\(size)")) THEN
          \(refuseSize("NEW.\(size)"))
        END IF;
        IF NEW.\(Identifier(blobs.data)) IS NOT NULL THEN
          -- Content that comes with the row is in the row, whatever it was before.
          IF \(isExternal("NEW")) THEN
            NEW.\(Identifier(blobs.storageClass)) := 'db';
          END IF;
          SELECT p.max_inline_bytes INTO limit_bytes FROM \(policy) AS p;
          IF octet_length(NEW.\(Identifier(blobs.data))) > limit_bytes THEN
            RAISE EXCEPTION 'a \(comment: blobs.singular) of % bytes is too large to be kept inline (limit: % bytes)',
              octet_length(NEW.\(Identifier(blobs.data))), limit_bytes
              USING ERRCODE = 'program_limit_exceeded',
                HINT = \(literal: "Put it into the object store, or raise max_inline_bytes in \(policy.quoted).");
          END IF;
        END IF;
        RETURN NEW;
      END
      """
    let put: SQL = """
      BEGIN
        \(recordPut)
        RETURN NULL;
      END
      """
    let deletion: SQL = """
      DECLARE
        held     bigint;
        recounts boolean;
      BEGIN
        IF current_setting('transaction_isolation') <> 'read committed' THEN
          RAISE EXCEPTION '\(comment: blobs.plural) can be deleted at READ COMMITTED only'
            USING ERRCODE = 'feature_not_supported',
              HINT = 'An older snapshot cannot show that nothing refers to them by now: BEGIN ISOLATION LEVEL READ COMMITTED.';
        END IF;
        IF NOT pg_try_advisory_xact_lock(\(lockNamespace), \(bucket("OLD.\(key)"))) THEN
          RAISE EXCEPTION '\(comment: blobs.singular) % may be in use by a running transaction', OLD.\(key)
            USING ERRCODE = 'lock_not_available', HINT = 'Try again when that transaction has ended.';
        END IF;
        -- Both in one statement: between two, a fold could count again, and what the first has read would be wrong.
        SELECT c.refcount, EXISTS (SELECT FROM \(ledger) AS l WHERE l.hash IS NULL) INTO held, recounts
        FROM \(names.qualified("\(blobs.singular)_refcounts")) AS c
        WHERE c.hash = OLD.\(key);
        IF recounts THEN
          RAISE EXCEPTION 'whether something refers to \(comment: blobs.singular) % is not known before references are counted again', OLD.\(key)
            USING ERRCODE = 'lock_not_available',
              HINT = \(literal: "A TRUNCATE above READ COMMITTED could not count what it removed: SELECT \(names.qualified("fold_references").quoted)(), then try again.");
        END IF;
        IF held > 0 THEN
          RAISE EXCEPTION '\(comment: blobs.singular) % is still referred to (% references)', OLD.\(key), held
            USING ERRCODE = 'foreign_key_violation',
              HINT = \(literal: "SELECT * FROM \(names.qualified("referrers").quoted)(hash) shows who holds it.");
        END IF;
        RETURN OLD;
      END
      """
    let rows: SQL = """
      BEGIN
        IF TG_OP = 'INSERT' THEN
          -- The marker makes the next fold look for references that came before their blob.
          INSERT INTO \(ledger) (hash, delta) SELECT g.\(key), 0 FROM gained AS g;
          \(recordStorage("", of: "gained"))
        ELSIF TG_OP = 'DELETE' THEN
          INSERT INTO \(ledger) (hash, delta) SELECT o.\(key), o.\(refcount) FROM lost AS o WHERE o.\(refcount) <> 0;
          DELETE FROM \(puts) AS t USING lost AS o WHERE t.hash = o.\(key);
          \(recordStorage("-", of: "lost"))
          \(queueDeletions(of: "lost"))
        ELSE
          INSERT INTO \(ledger) (hash, delta) SELECT b.\(key), b.\(refcount) FROM ONLY \(blobTable) AS b WHERE b.\(refcount) <> 0;
          DELETE FROM \(puts);
          \(recordStorage("-", of: "ONLY \(blobTable)"))
          \(queueDeletions(of: "ONLY \(blobTable)"))
          \(recountAboveReadCommitted)
        END IF;
        RETURN NULL;
      END
      """
    let sizeChange: SQL = """
      BEGIN
        \(recordStorageChange)
        IF \(isExternal("OLD")) AND NOT \(isExternal("NEW")) THEN
          \(queueDeletions(of: "(SELECT OLD.*)"))
        END IF;
        RETURN NULL;
      END
      """
    func create(_ name: QualifiedName, _ body: SQL, rights: SQL = ownerRights, _ comment: String) -> SQL {
      """
      CREATE OR REPLACE FUNCTION \(name)() RETURNS trigger
      LANGUAGE plpgsql \(rights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(name)() IS \(literal: comment);
      \(revoke("FUNCTION", "\(name)()"))
      """
    }
    return .joined(
      [
        create(
          function.own,
          own,
          rights: "\(ownerRights) \(looksUpByKey)",
          "The database owns refcount: a client's value is ignored, not refused. Also refuses inline content over max_inline_bytes, and remembers a put that leaves the row as it is."
        ),
        create(function.put, put, "Remembers that a blob was put again."),
        create(function.deletion, deletion, "Refuses to delete a blob that something refers to."),
        create(
          function.rows,
          rows,
          "Keeps the law, and the totals of the storage, when blobs arrive or go; queues the objects of those that go."
        ),
        create(
          function.size,
          sizeChange,
          "Keeps the totals of the storage when a blob changes its size or its place, and queues an object that it leaves."
        ),
      ],
      separator: "\n\n"
    )
  }

  private var blobTriggers: SQL {
    let function = blobFunction
    func name(_ purpose: String) -> Identifier { names.identifier(of: blobs.table, purpose) }
    let putColumns = SQL.joined(
      [blobs.size, blobs.mediaType, blobs.data, blobs.refcount].map { "\(Identifier($0))" },
      separator: ", "
    )
    return """
      CREATE OR REPLACE TRIGGER \(name("own_refcount_insert"))
        BEFORE INSERT ON \(blobTable)
        FOR EACH ROW EXECUTE FUNCTION \(function.own)();
      CREATE OR REPLACE TRIGGER \(name("own_refcount_update"))
        BEFORE UPDATE ON \(blobTable)
        FOR EACH ROW WHEN (NOT (
          \(isOwnChange)))
        EXECUTE FUNCTION \(function.own)();
      CREATE OR REPLACE TRIGGER \(name("record_put"))
        AFTER UPDATE OF \(putColumns) ON \(blobTable)
        FOR EACH ROW WHEN (NOT (
          \(isOwnChange)))
        EXECUTE FUNCTION \(function.put)();
      CREATE OR REPLACE TRIGGER \(name("record_size"))
        AFTER UPDATE OF \(Identifier(blobs.size)), \(Identifier(blobs.data)), \(Identifier(blobs.storageClass)) ON \(blobTable)
        FOR EACH ROW WHEN (OLD.\(Identifier(blobs.size)) IS DISTINCT FROM NEW.\(Identifier(blobs.size)) OR OLD.\(Identifier(blobs.storageClass)) IS DISTINCT FROM NEW.\(Identifier(blobs.storageClass)))
        EXECUTE FUNCTION \(function.size)();
      CREATE OR REPLACE TRIGGER \(name("refuse_delete"))
        BEFORE DELETE ON \(blobTable)
        FOR EACH ROW WHEN (NOT (
          \(isOwnChange)))
        EXECUTE FUNCTION \(function.deletion)();
      CREATE OR REPLACE TRIGGER \(name("record_insert"))
        AFTER INSERT ON \(blobTable) REFERENCING NEW TABLE AS gained
        FOR EACH STATEMENT EXECUTE FUNCTION \(function.rows)();
      CREATE OR REPLACE TRIGGER \(name("record_delete"))
        AFTER DELETE ON \(blobTable) REFERENCING OLD TABLE AS lost
        FOR EACH STATEMENT EXECUTE FUNCTION \(function.rows)();
      CREATE OR REPLACE TRIGGER \(name("record_truncate"))
        BEFORE TRUNCATE ON \(blobTable)
        FOR EACH STATEMENT EXECUTE FUNCTION \(function.rows)();

      DO \(refcountCheck.dollarQuoted());
      """
  }

  private var refcountCheckName: Identifier { names.identifier(of: blobs.table, "refcount_check") }

  private var hasRefcountCheck: SQL {
    """
    EXISTS (
      SELECT FROM pg_catalog.pg_constraint AS c
      WHERE c.conrelid = \(literal(blobTable))::pg_catalog.regclass AND c.conname = \(literal: refcountCheckName.name)
    )
    """
  }

  private var refcountCheck: SQL {
    """
    BEGIN
      IF NOT \(hasRefcountCheck) THEN
        -- NOT VALID: rows from before the adoption are corrected by the backfill, not read here under the lock.
        ALTER TABLE \(blobTable) ADD CONSTRAINT \(refcountCheckName) CHECK (\(refcount) >= 0) NOT VALID;
      END IF;
    END
    """
  }
}
