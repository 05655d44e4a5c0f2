import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `005_adoption.sql`: whether tables that exist can be adopted.
  func adoption() -> Artefact {
    Artefact(
      path: "005_adoption.sql",
      kind: .repeatable,
      purpose: [
        "Refuses to go on where a table of the application exists without what the retention relies on: columns of the",
        "model's types, a key that is unique, NOT NULL for that key and for what every blob needs",
        "(\(blobs.requiredRoles.map(\.column).joined(separator: ", "))), values of their own in what an undo brings back,",
        "and every row to be seen, after a crash too: no partitions, no tables that inherit, no row-level security for the",
        "owner, no table that is not logged. And where a foreign key that the model does not know would make a cleanup delete",
        "other rows, or fail. Changes nothing.",
      ],
      locks: ["none"],
      body: "DO \(adoptionCheck.dollarQuoted());"
    )
  }

  /// NULL in a key names no row; a count that is NULL stays so, whatever is added to it. A blob whose place is NULL would be
  /// taken for stored when nothing has its content. A key that is not unique gives one hash several counts. Into a generated
  /// column nothing can be inserted; one that the model does not know is left to the table.
  private var adoptionCheck: SQL {
    let columns = model.tables.flatMap { table in
      let isInserted: SQL = archivedTables.contains { $0.table.name == table.name } ? "true" : "false"
      return table.columns.map { column -> SQL in
        let isNeeded = table.name == blobs.table && blobs.requiredRoles.contains { $0.column == column.name }
        let isRequired: SQL = isNeeded || table.primaryKey.contains(column.name) ? "true" : "false"
        return """
          (\(literal: names.table(table.name).quoted), \(literal: column.name), \(literal: column.type), \(isRequired), \(isInserted))
          """
      }
    }
    let keys = model.tables.map { table -> SQL in
      let columns = SQL.joined(table.primaryKey.map { "\(literal: $0)" }, separator: ", ")
      return "(\(literal: names.table(table.name).quoted), ARRAY[\(columns)])"
    }
    return """
      DECLARE
        differences text;
      BEGIN
        WITH existing AS (
          SELECT c.oid, c.relkind, c.relpersistence, e.table_name, e.key
          FROM (VALUES
            \(SQL.joined(keys))
          ) AS e (table_name, key)
          JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(e.table_name)
        )
        SELECT pg_catalog.string_agg(d.difference, '; ' ORDER BY d.difference) INTO differences
        FROM (
          SELECT pg_catalog.format('column %I of table %s %s', e.column_name, e.table_name, CASE
            WHEN a.atttypid IS NULL THEN 'is missing'
            WHEN a.atttypid <> e.type::pg_catalog.regtype
              THEN pg_catalog.format('is of type %s, but the retention model says %s', pg_catalog.format_type(a.atttypid, a.atttypmod), e.type)
            WHEN e.is_inserted AND a.attgenerated <> '' THEN 'is generated: leave it out of the model'
            ELSE 'may be NULL'
          END) AS difference
          FROM (VALUES
            \(SQL.joined(columns))
          ) AS e (table_name, column_name, type, is_required, is_inserted)
          JOIN existing AS t ON t.table_name = e.table_name
          LEFT JOIN pg_catalog.pg_attribute AS a
            ON a.attrelid = t.oid AND a.attname = e.column_name AND NOT a.attisdropped
          WHERE a.atttypid IS DISTINCT FROM e.type::pg_catalog.regtype OR e.is_required AND NOT a.attnotnull
            OR e.is_inserted AND a.attgenerated <> ''
          UNION ALL
          SELECT pg_catalog.format('table %s has no unique key on (%s)', t.table_name, pg_catalog.array_to_string(t.key, ', '))
          FROM existing AS t
          WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_index AS i
            WHERE i.indrelid = t.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
              AND i.indnkeyatts = pg_catalog.cardinality(t.key)
              AND t.key <@ ARRAY(
                SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])
              )
          )
          UNION ALL
          SELECT pg_catalog.format('table %s %s', t.table_name, h.hindrance)
          FROM existing AS t
          CROSS JOIN LATERAL (
            SELECT 'is partitioned' WHERE t.relkind = 'p'
            UNION ALL
            SELECT 'has tables that inherit from it, whose rows would not be counted'
            WHERE t.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = t.oid)
            UNION ALL
            SELECT 'hides rows from its owner (FORCE ROW LEVEL SECURITY)' WHERE pg_catalog.row_security_active(t.oid)
            UNION ALL
            SELECT 'is not logged: a crash would empty it, and leave counts that are wrong' WHERE t.relpersistence <> 'p'
          ) AS h (hindrance)
          UNION ALL
          \(unknownForeignKeys)
        ) AS d;
        IF differences IS NOT NULL THEN
          RAISE EXCEPTION 'tables that exist are not what the retention relies on: %', differences
            USING ERRCODE = 'invalid_table_definition',
              HINT = 'Change the tables, or correct the model to what they are, generate again, and apply the new files.';
        END IF;
      END
      """
  }

  /// Foreign keys to a table from which cleanups delete, as differences: those that neither the model names nor a count
  /// makes harmless.
  private var unknownForeignKeys: SQL {
    let deleted = archivedTables.map { "(\(literal: $0.source.quoted))" as SQL }
    let parents = Set(archivedTables.map(\.table.name))
    func known(_ child: String, _ parent: String, _ columns: [(String, String)]) -> SQL {
      func list(_ names: [String]) -> SQL { .joined(names.map { "\(literal: $0)" }, separator: ", ") }
      return """
        (\(literal: names.table(child).quoted), \(literal: names.table(parent).quoted), ARRAY[\(list(columns.map(\.0)))], ARRAY[\(list(columns.map(\.1)))])
        """
    }
    let keys = model.tables.flatMap { table in
      table.foreignKeys.filter { parents.contains($0.parent) }.map {
        known(table.name, $0.parent, Array(zip($0.columns, $0.parentColumns)))
      }
    }
    // A blob that a row refers to is not deleted, so that a foreign key beside the reference has nothing to do.
    let references = model.references.compactMap { reference -> SQL? in
      guard case .scalar(let column) = reference.kind else { return nil }
      return known(reference.table, blobs.table, [(column, blobs.key)])
    }
    let expected = keys + references
    let isKnown: SQL =
      expected.isEmpty
      ? ""
      : """

        AND NOT EXISTS (
          SELECT FROM (VALUES
            \(SQL.joined(expected))
          ) AS k (child, parent, columns, parent_columns)
          WHERE f.conrelid = pg_catalog.to_regclass(k.child) AND f.confrelid = pg_catalog.to_regclass(k.parent)
            AND pg_catalog.cardinality(f.conkey) = pg_catalog.cardinality(k.columns)
            AND NOT EXISTS (
              SELECT FROM ROWS FROM (pg_catalog.unnest(f.conkey), pg_catalog.unnest(f.confkey)) AS u (number, parent_number)
              JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = u.number
              JOIN pg_catalog.pg_attribute AS p ON p.attrelid = f.confrelid AND p.attnum = u.parent_number
              WHERE NOT EXISTS (
                SELECT FROM ROWS FROM (pg_catalog.unnest(k.columns), pg_catalog.unnest(k.parent_columns)) AS m (name, parent_name)
                WHERE m.name = a.attname AND m.parent_name = p.attname
              )
            )
        )
      """
    return """
      SELECT pg_catalog.format('table %s has a foreign key %I to %s that the model does not know: %s', f.conrelid::pg_catalog.regclass,
        f.conname, e.table_name, CASE f.confdeltype
          WHEN 'c' THEN 'its rows would be deleted too, whatever their age, and could not be brought back'
          ELSE 'cleanups would fail on the rows that it refers to'
        END)
      FROM (VALUES
        \(SQL.joined(deleted))
      ) AS e (table_name)
      JOIN pg_catalog.pg_constraint AS f ON f.confrelid = pg_catalog.to_regclass(e.table_name)
      -- SET NULL and SET DEFAULT leave the other rows where they are, and keep none.
      WHERE f.contype = 'f' AND f.conparentid = 0 AND f.confdeltype IN ('a', 'r', 'c')\(isKnown)
      """
  }
}
