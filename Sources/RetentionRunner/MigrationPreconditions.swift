import MigrationGenerator
import Postgres
import RetentionModel
import SafeSQL

/// What must be so before migrations are applied; each check throws a ``RunnerError`` that says what to do.
struct MigrationPreconditions {
  private static let oldestVersion = 14

  let connection: Connection
  let names: ObjectNames
  /// Every table that the migrations create or change.
  let tables: [QualifiedName]

  /// The server can take migrations at all.
  func checkServer() throws {
    try Self.checkVersion(connection.serverVersion)
    let facts = try connection.query(
      "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::bool AS read_only"
    )
    guard let row = facts.first else { return }
    if try row.bool("standby") { throw RunnerError("the server is a standby; connect to the primary to migrate") }
    if try row.bool("read_only") {
      throw RunnerError("the session is read-only; unset default_transaction_read_only to migrate")
    }
  }

  /// - Parameter version: as libpq gives it, such as 150004 for 15.4.
  static func checkVersion(_ version: Int) throws {
    guard version >= oldestVersion * 10_000 else {
      // Until 9.6 a major version had two parts.
      let name = version >= 100_000 ? "\(version / 10_000)" : "\(version / 10_000).\(version / 100 % 100)"
      throw RunnerError(
        "the server is PostgreSQL \(name); \(oldestVersion) is the oldest that is supported: upgrade the server"
      )
    }
  }

  /// The role may create what is missing and change what is there.
  func checkRights() throws {
    let facts = try connection.query(
      """
      SELECT current_user::text AS role, current_database()::text AS database, s.schema IS NULL AS missing,
        CASE WHEN s.schema IS NULL THEN
          CASE WHEN NOT has_database_privilege(current_database(), 'CREATE') THEN 'CREATE' END
        ELSE
          nullif(concat_ws(', ', CASE WHEN NOT has_schema_privilege(s.schema, 'USAGE') THEN 'USAGE' END,
            CASE WHEN NOT has_schema_privilege(s.schema, 'CREATE') THEN 'CREATE' END), '')
        END AS rights
      FROM (SELECT to_regnamespace($1)::oid AS schema) AS s
      """,
      names.schema.quoted
    )
    guard let row = facts.first else { return }
    let role = Identifier(try row.string("role"))
    if let rights = try row.optionalString("rights") {
      let object: SQL =
        try row.bool("missing") ? "DATABASE \(Identifier(row.string("database")))" : "SCHEMA \(names.schema)"
      throw RunnerError(
        "role \(role.quoted) lacks a right: GRANT \(rights) ON \(object) TO \(role.quoted), or migrate as the owner"
      )
    }
    let foreign = try connection.query(
      """
      SELECT c.oid::regclass::text AS name, pg_get_userbyid(c.relowner)::text AS owner
      FROM unnest($1::text[]) WITH ORDINALITY AS t (name, position)
      JOIN pg_class AS c ON c.oid = to_regclass(t.name)
      WHERE NOT pg_has_role(c.relowner, 'USAGE')
      ORDER BY t.position
      """,
      tables.map(\.quoted)
    ).rows
    guard !foreign.isEmpty else { return }
    let owned = try foreign.map { "\(try $0.string("name")) belongs to \(Identifier(try $0.string("owner")).quoted)" }
    let owner = Identifier(try foreign[0].string("owner")).quoted
    throw RunnerError(
      "role \(role.quoted) is not the owner of every table that is to be changed: \(owned.joined(separator: ", ")); "
        + "migrate as \(owner), or GRANT \(owner) TO \(role.quoted)"
    )
  }
}
