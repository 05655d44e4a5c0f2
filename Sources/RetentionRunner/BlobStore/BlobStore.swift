import Logging
import MigrationGenerator
import NIOCore
import ObjectStore
import Postgres
import RetentionModel
import SafeSQL

/// The blobs of an installation, wherever their content is: in their rows or in the object store.
public struct BlobStore: Sendable {
  /// The bytes that a content is read from its row by. The server makes two copies of each piece and gives them back to the
  /// system at once when they are larger together than `malloc` keeps, 128 KiB; then it gets fresh pages for every piece.
  static let pieceSize = 60 << 10

  /// Where objects are.
  ///
  /// - Throws: why there is no store, to whoever needs one.
  var objects: any ObjectStore { get throws { try store.get() } }
  /// Whether there is a store.
  var hasObjects: Bool { (try? store.get()) != nil }
  private let store: Result<any ObjectStore, any Error>
  /// What stands before every object's name.
  public let prefix: String
  let names: ObjectNames
  let blobs: BlobTable
  let logger: Logger
  private let hasBinaryKey: Bool
  /// Whether the table has the column in which JAM notes who has put a blob.
  let hasUploader: Bool
  private var connect: @Sendable () throws -> Connection

  /// - Parameters:
  ///   - objects: where objects are; a failure: why there is no store, which matters only to blobs that are in it.
  ///   - prefix: what stands before every object's name, for example `preimages/`.
  ///   - connect: opens a connection; every worker has one of its own.
  public init(
    model: RetentionModel,
    objects: Result<any ObjectStore, any Error>,
    prefix: String,
    logger: Logger,
    connect: @escaping @Sendable () throws -> Connection
  ) {
    store = objects
    self.prefix = prefix
    self.logger = logger
    self.connect = connect
    names = ObjectNames(model)
    blobs = model.blobs
    let columns = model.tables.first { $0.name == model.blobs.table }?.columns ?? []
    hasBinaryKey = model.hasBinaryKey
    hasUploader = columns.contains { $0.name == "uploader" && $0.comparableType == "text" }
  }

  /// The same blobs, reached through connections of another kind.
  func connecting(_ connect: @escaping @Sendable () throws -> Connection) -> BlobStore {
    var store = self
    store.connect = connect
    return store
  }

  func connection() async throws -> BackgroundConnection {
    try await BackgroundConnection.open(connect)
  }

  var table: QualifiedName { names.table(blobs.table) }
  var key: Identifier { Identifier(blobs.key) }
  var data: Identifier { Identifier(blobs.data) }

  /// A parameter with a hash in hex as the key's type.
  func asKey(_ parameter: SQL) -> SQL { hasBinaryKey ? "decode(\(parameter), 'hex')" : parameter }

  /// A parameter with hashes in hex as an array of the key's type.
  func asKeys(_ parameter: SQL) -> SQL {
    hasBinaryKey
      ? "(SELECT array_agg(decode(h, 'hex') ORDER BY n) FROM unnest(\(parameter)::text[]) WITH ORDINALITY AS k (h, n))"
      : "\(parameter)::text[]"
  }

  /// A key as hex.
  func asHex(_ column: SQL) -> SQL { hasBinaryKey ? "encode(\(column), 'hex')" : column }

  /// The content of a row from an offset on, a piece at a time; at least one piece, if only an empty one, when the row has
  /// content. What the server has compressed is decompressed once; of anything else only the piece is read.
  func inlineContent(of hash: String, from offset: Int64 = 0, on connection: BackgroundConnection) -> ByteStream {
    connection.stream(
      """
      SELECT substring(c.bytes FROM \(offset) + n * \(Self.pieceSize) + 1 FOR \(Self.pieceSize))
      FROM (
        SELECT CASE WHEN pg_column_compression(b.\(data)) IS NULL THEN b.\(data) ELSE b.\(data) || ''::bytea END AS bytes
        FROM \(table) AS b
        WHERE b.\(key) = \(asKey("$1")) AND b.\(data) IS NOT NULL
        OFFSET 0
      ) AS c
      CROSS JOIN LATERAL generate_series(0, greatest(octet_length(c.bytes) - \(offset) - 1, 0) / \(Self.pieceSize)) AS n
      """,
      hash
    )
  }

  /// The whole contents of small rows in one call, in the order of their hashes; empty where a row has none any more.
  func inlineContents(of hashes: [String], on connection: BackgroundConnection) async throws -> [ByteBuffer] {
    let contents = connection.stream(
      """
      SELECT b.\(data)
      FROM unnest(\(asKeys("$1"))) WITH ORDINALITY AS h (hash, number)
      LEFT JOIN \(table) AS b ON b.\(key) = h.hash
      ORDER BY h.number
      """,
      hashes
    )
    var collected: [ByteBuffer] = []
    for try await content in contents { collected.append(content) }
    return collected
  }

  /// Refuses what cannot be a hash before anything is asked of the database.
  static func check(_ hash: String) throws {
    let digits = Set("0123456789abcdef".utf8)
    guard hash.utf8.count == 64, hash.utf8.allSatisfy(digits.contains) else {
      throw RunnerError("\"\(hash.prefix(100))\" is no hash: give the SHA-256 of the content, 64 lower-case hex digits")
    }
  }
}
