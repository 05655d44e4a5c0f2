import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `010_tables.sql`: the application's own tables, created or adopted.
  func applicationTables() -> Artefact {
    Artefact(
      path: "010_tables.sql",
      kind: .versioned,
      purpose: [
        "The application's tables. A table that exists is adopted as it is: its columns are compared",
        "with the model, nothing in it is changed, and a difference stops this file with an error.",
      ],
      locks: ["none on existing tables"],
      lintException: .init(
        rules: ["prefer-bigint-over-int"],
        reason: ["The types are the application's own; a table that exists has them already."]
      ),
      body: """
        -- IF NOT EXISTS would ask for the right to create schemas even where there is nothing to create.
        DO \(createSchema.dollarQuoted());

        \(SQL.joined(model.tables.map(createTable), separator: "\n\n"))

        -- An adopted table must have the columns that the retention relies on.
        DO \(columnCheck.dollarQuoted());
        """
    )
  }

  private var createSchema: SQL {
    """
    BEGIN
      IF pg_catalog.to_regnamespace(\(literal: names.schema.quoted)) IS NULL THEN
        CREATE SCHEMA \(names.schema);
      END IF;
    END
    """
  }

  private func createTable(_ table: Table) -> SQL {
    var lines = table.columns.map { column -> SQL in
      let notNull: SQL = column.isNullable ? "" : " NOT NULL"
      let defaulted: SQL = column.defaultExpression.map { " DEFAULT \(raw: $0)" } ?? ""
      return "\(Identifier(column.name)) \(raw: column.type)\(notNull)\(defaulted)"
    }
    lines.append("PRIMARY KEY (\(list(table.primaryKey)))")
    lines += table.foreignKeys.map { key in
      """
      FOREIGN KEY (\(list(key.columns))) REFERENCES \(names.table(key.parent)) (\(list(key.parentColumns))) \
      ON DELETE \(raw: key.onDelete.rawValue.uppercased())
      """
    }
    return """
      CREATE TABLE IF NOT EXISTS \(names.table(table.name)) (
        \(SQL.joined(lines))
      );
      """
  }

  private func list(_ columns: [String]) -> SQL {
    .joined(columns.map { "\(Identifier($0))" }, separator: ", ")
  }

  private var columnCheck: SQL {
    let expected = model.tables.flatMap { table in
      table.columns.map { column -> SQL in
        "(\(literal: names.table(table.name).quoted), \(literal: column.name), \(literal: column.type))"
      }
    }
    return """
      DECLARE
        difference record;
      BEGIN
        SELECT e.table_name, e.column_name, e.type, pg_catalog.format_type(a.atttypid, a.atttypmod) AS found
        INTO difference
        FROM (VALUES
          \(SQL.joined(expected))
        ) AS e (table_name, column_name, type)
        LEFT JOIN pg_catalog.pg_attribute AS a
          ON a.attrelid = e.table_name::pg_catalog.regclass AND a.attname = e.column_name AND NOT a.attisdropped
        WHERE a.atttypid IS DISTINCT FROM e.type::pg_catalog.regtype
        LIMIT 1;
        IF FOUND THEN
          RAISE EXCEPTION 'column "%" of table % is %, but the retention model says %', difference.column_name,
            difference.table_name, coalesce('of type ' || difference.found, 'missing'), difference.type
            USING ERRCODE = 'datatype_mismatch',
              HINT = 'Correct the model to what the table is, generate again, and apply the new files.';
        END IF;
      END
      """
  }
}
