import ArgumentParser
import Postgres
import RetentionRunner

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Sizes, the backlog, and the last runs, the newest first.")
  @OptionGroup var options: DatabaseOptions

  func run() throws {
    let session = try options.session()
    let database = try session.database()
    let sizes = try database.sizes()
    let space = try database.blobTableSpace()
    let runs = try database.lastRuns()
    switch session.format {
    case .text: printText(sizes, space, runs)
    case .json: printJSON(sizes, space, runs)
    }
  }

  private func printText(_ sizes: DatabaseSizes, _ space: BlobTableSpace, _ runs: QueryResult) {
    let blobs = sizes.storage.map { (name: "blobs in \($0.storageClass)", value: "\($0.rows), \($0.bytes) bytes") }
    let waiting = sizes.backlog
    let oldest = waiting.ledgerEntries == 0 ? "" : ", the oldest \(waiting.ledgerOldestSeconds) s old"
    let backlog = [
      (name: "ledger entries", value: "\(waiting.ledgerEntries)\(oldest)"),
      (name: "unresolved references", value: "\(waiting.unresolvedReferences)"),
      (
        name: "objects awaiting deletion",
        value: "\(waiting.pendingDeletions.count), \(waiting.pendingDeletions.bytes) bytes"
      ),
      (name: "blob table on disk", value: "\(space.tableBytes) bytes, about \(space.reclaimableBytes) reclaimable"),
    ]
    print(TextTable(pairs: (blobs.isEmpty ? [("blobs", "0")] : blobs) + backlog))
    guard !runs.rows.isEmpty else { return print("no cleanup has run yet") }
    let deleted = runs.columns.filter { $0.hasPrefix("deleted_") }
    let columns = ["id", "started_at", "status", "dry_run"] + deleted + ["freed_bytes", "error"]
    print(TextTable(columns: columns, rows: runs.rows), terminator: "")
  }

  private func printJSON(_ sizes: DatabaseSizes, _ space: BlobTableSpace, _ runs: QueryResult) {
    let blobs = sizes.storage.map { storage -> [(name: String, value: JSONValue)] in
      [
        ("kind", .string("blobs")), ("storage_class", .string(storage.storageClass)),
        ("rows", .number("\(storage.rows)")), ("bytes", .number("\(storage.bytes)")),
      ]
    }
    let waiting = sizes.backlog
    let backlog: [(name: String, value: JSONValue)] = [
      ("kind", .string("backlog")), ("ledger_entries", .number("\(waiting.ledgerEntries)")),
      ("ledger_oldest_seconds", .number("\(waiting.ledgerOldestSeconds)")),
      ("unresolved_references", .number("\(waiting.unresolvedReferences)")),
      ("pending_deletions", .number("\(waiting.pendingDeletions.count)")),
      ("pending_deletion_bytes", .number("\(waiting.pendingDeletions.bytes)")),
    ]
    let table: [(name: String, value: JSONValue)] = [
      ("kind", .string("space")), ("table_bytes", .number("\(space.tableBytes)")),
      ("reclaimable_bytes", .number("\(space.reclaimableBytes)")),
    ]
    for fields in blobs + [backlog, table] + runs.rows.map({ [("kind", .string("run"))] + $0.json }) {
      print(JSONValue.object(fields).text)
    }
  }
}
