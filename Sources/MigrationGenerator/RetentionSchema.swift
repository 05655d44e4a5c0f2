import RetentionModel
import SafeSQL

/// What the artefacts share: the model, the names, and the pieces of SQL that several files need in the same meaning.
struct RetentionSchema {
  let model: RetentionModel
  let names: ObjectNames

  init(_ model: RetentionModel) {
    self.model = model
    names = ObjectNames(model)
  }

  var blobs: BlobTable { model.blobs }
  var blobTable: QualifiedName { names.table(model.blobs.table) }
  var key: Identifier { Identifier(model.blobs.key) }
  var refcount: Identifier { Identifier(model.blobs.refcount) }
  var ledger: QualifiedName { names.qualified("reference_ledger") }
  var unresolved: QualifiedName { names.qualified("unresolved_references") }
  var puts: QualifiedName { names.qualified("\(blobs.singular)_puts") }
  var policy: QualifiedName { names.qualified("retention_policy") }
  var runs: QualifiedName { names.qualified("cleanup_runs") }
  var anomalies: QualifiedName { names.qualified("refcount_anomalies") }
  var adjustments: QualifiedName { names.qualified("refcount_adjustments") }

  /// The tables that the retention itself adds, without the prefix.
  var retentionTableNames: [String] {
    [
      "reference_ledger", "storage_ledger", "unresolved_references", "\(blobs.singular)_puts", "refcount_anomalies",
      "cleanup_runs", "totals", "retention_policy", "schema_migrations", "blob_uploads", "blob_deletions",
      "blob_objects", "storage_history", "archive",
    ] + archivedTables.map { "archived_\($0.name)" }
  }

  /// `text` or `bytea`.
  var keyType: SQL { "\(raw: columnType(of: blobs.key, in: blobs.table))" }

  func table(_ name: String) -> Table {
    guard let table = model.tables.first(where: { $0.name == name }) else {
      preconditionFailure("the model has no table \(name): it was not validated")
    }
    return table
  }

  func columnType(of name: String, in tableName: String) -> String { column(name, in: tableName).type }

  private func column(_ name: String, in tableName: String) -> Column {
    guard let column = table(tableName).columns.first(where: { $0.name == name }) else {
      preconditionFailure("table \(tableName) has no column \(name): the model was not validated")
    }
    return column
  }

  /// The tables that hold references, in the model's order, each with its edges.
  var referringTables: [(table: Table, edges: [Reference])] {
    model.tables.compactMap { table in
      let edges = model.references.filter { $0.table == table.name }
      return edges.isEmpty ? nil : (table, edges)
    }
  }

  // MARK: Advisory locks

  /// The first key of every advisory lock.
  var lockNamespace: Int32 { names.lockNamespace(of: blobs) }

  /// The second keys: blobs share 256 buckets, because the server's lock table is too small for a lock a blob.
  enum LockKey {
    static let fold = 256
    static let cleanup = 257
    /// The first of the buckets under which uploads and deletions of objects exclude each other.
    static let objects = 512
  }

  /// The bucket of a blob's key. Of bytes a hash too: keys may all begin alike, and one may be empty.
  func bucket(_ key: SQL) -> SQL {
    let text: SQL = model.hasBinaryKey ? "pg_catalog.encode(\(key), 'hex')" : key
    return "(pg_catalog.hashtext(\(text)) & 255)"
  }

  /// Takes the shared lock of a key's bucket; true, so that it can stand in a WHERE or HAVING clause.
  func lockShared(_ key: SQL) -> SQL {
    "pg_catalog.pg_advisory_xact_lock_shared(\(lockNamespace), \(bucket(key))) IS NOT NULL"
  }

  // MARK: Edges

  /// The longest key of a blob, in bytes. An index entry has at most about 2700, so a longer text can name no blob, and
  /// as a reference that waits for one it would make a fold fail.
  static let maximumKeyBytes = 1024

  /// The largest size of a blob, in bytes: 64 TiB, more than any object store takes. Sums of a hundred thousand such fit a
  /// bigint.
  static let maximumSize = 1 << 46

  /// Whether a blob can have this size.
  func isSize(_ size: SQL) -> SQL { "\(size) BETWEEN 0 AND \(Self.maximumSize)" }

  /// The error about a size that no blob can have.
  func refuseSize(_ size: SQL) -> SQL {
    """
    RAISE EXCEPTION 'a \(comment: blobs.singular) cannot have a size of % bytes (limit: \(Self.maximumSize) bytes)', \(size)
      USING ERRCODE = 'invalid_parameter_value';
    """
  }

  /// How much inline content a batch of a cleanup deletes at most, in bytes, unless a single blob is larger. A submit that
  /// names a blob of the batch waits for its COMMIT, and 8 MiB are archived and deleted within milliseconds.
  static let maximumBatchContent = 8 << 20

  /// Whether a value can name a blob at all; NULL and the empty one do not.
  func isKey(_ value: SQL) -> SQL {
    "pg_catalog.octet_length(\(value)) BETWEEN 1 AND \(Self.maximumKeyBytes)"
  }

  /// The keys that one edge yields over the rows of `source`, which has the alias `r`.
  func keys(of edge: Reference, from source: SQL, selecting extra: SQL = "") -> SQL {
    switch edge.kind {
    case .scalar(let column):
      "SELECT r.\(Identifier(column)) AS hash\(extra) FROM \(source) AS r"
    case .array(let column):
      "SELECT a.hash\(extra) FROM \(source) AS r, pg_catalog.unnest(r.\(Identifier(column))) AS a (hash)"
    case .scan(let column):
      """
      SELECT s.hash\(extra) FROM \(source) AS r, \(names.qualified("scan_hashes"))\
      (\(scanned(column, in: edge.table))) AS s (hash)
      """
    case .expression(let sql, _):
      "SELECT x.hash\(extra) FROM \(source) AS r, LATERAL (SELECT \(raw: sql)) AS x (hash)"
    }
  }

  private func scanned(_ column: String, in table: String) -> SQL {
    self.column(column, in: table).comparableType == "bytea"
      ? "r.\(Identifier(column))"
      : "pg_catalog.convert_to(r.\(Identifier(column)), 'UTF8')"
  }

  /// All keys that the edges yield over `source`.
  func keys(of edges: [Reference], from source: SQL, selecting extra: SQL = "") -> SQL {
    .joined(edges.map { keys(of: $0, from: source, selecting: extra) }, separator: "\nUNION ALL\n")
  }

  private var ownChangeMark: SQL { "'jam_retention counting'" }

  /// The clause of a function that changes blob rows on the retention's behalf. The setting is one that PostgreSQL knows:
  /// only a superuser may create a function that sets one of its own.
  var marksOwnChanges: SQL { "SET application_name = \(ownChangeMark)" }

  /// What tells the retention's own changes of a blob row from a client's: the setting, which its functions carry, and
  /// the right to delete from the ledger, which no client has.
  var isOwnChange: SQL {
    """
    pg_catalog.current_setting('application_name') = \(ownChangeMark)
    AND pg_catalog.has_table_privilege(\(literal(ledger))::pg_catalog.regclass, 'DELETE')
    """
  }

  /// Lets a table without a key be published. Otherwise every fold fails as soon as somebody creates a publication FOR
  /// ALL TABLES: PostgreSQL refuses to delete from a published table whose rows it cannot name to the subscriber.
  func identifyByWholeRow(_ table: QualifiedName) -> SQL {
    let body: SQL = """
      BEGIN
        IF EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = \(literal(table))::pg_catalog.regclass AND c.relreplident <> 'f') THEN
          ALTER TABLE \(table) REPLICA IDENTITY FULL;
        END IF;
      END
      """
    return """
      -- There is no key: a publication of all tables needs another way to name a row that a fold deletes.
      DO \(body.dollarQuoted());
      """
  }

  /// A qualified name as a string literal, for casts to regclass.
  func literal(_ name: QualifiedName) -> SQL { "\(literal: name.quoted)" }

  /// `CREATE OR REPLACE` has kept rights that were given before; those that PUBLIC has by default go.
  func revoke(_ kind: SQL, _ signature: SQL) -> SQL {
    "REVOKE ALL ON \(kind) \(signature) FROM PUBLIC;"
  }
}
