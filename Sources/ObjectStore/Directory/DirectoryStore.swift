import CXattr
import Foundation
import NIOCore
import NIOPosix

/// Objects as files in a directory, for demonstrations and for sites without an object store.
///
/// `objects` holds a file for every object, named after the percent-encoded key; `uploads` holds what is still being
/// written. An object appears, whole and synchronised to the disk, when its file is renamed from there. The media type is
/// the file's extended attribute `user.mime_type`, as of the freedesktop.org guidelines; a file system without extended
/// attributes loses it.
public struct DirectoryStore: ObjectStore {
  /// The directory that holds everything.
  public let directory: String

  private let pageSize: Int
  private static let mediaTypeAttribute = "user.mime_type"
  private static let defaultMediaType = "application/octet-stream"

  private var objects: String { "\(directory)/objects" }
  private var uploads: String { "\(directory)/uploads" }

  /// A store in a directory, which ``create()`` makes when it is used for the first time.
  public init(directory: String) {
    self.init(directory: directory, pageSize: 10_000)
  }

  init(directory: String, pageSize: Int) {
    self.directory = directory
    self.pageSize = pageSize
  }

  /// Makes the directory where it is missing. Nothing else does: an empty mount point must not look like an empty store.
  ///
  /// - Returns: whether there was no store yet.
  /// - Throws: `ObjectStoreError` when the directory holds other things; nothing is changed.
  @discardableResult
  public func create() async throws -> Bool {
    let operation = "create the store \(directory)"
    return try await NIOThreadPool.singleton.runIfActive {
      do {
        guard access(objects, F_OK) != 0 || access(uploads, F_OK) != 0 else { return false }
        try refuseOtherThings(doing: operation)
        for path in [objects, uploads] {
          do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
          } catch {
            throw FileSystemFailure("make the directory", path)
          }
        }
        return true
      } catch let failure as FileSystemFailure {
        // Not as other calls see it: that there is no store is no reason here.
        throw failure.error(doing: operation)
      }
    }
  }

  /// A file system that was just made has `lost+found` in it, and a store that was half made one of its own directories.
  private func refuseOtherThings(doing operation: String) throws {
    guard access(directory, F_OK) == 0 else { return }
    let known = ["objects", "uploads", "lost+found"]
    guard let other = try Self.entries(of: directory).sorted().first(where: { !known.contains($0) }) else { return }
    throw ObjectStoreError(
      .refused,
      doing: operation,
      "it holds other things, such as \(other)",
      remedy: "name a directory that is empty, or one that is not there yet"
    )
  }

  /// Writes the object beside the others, synchronises it, and renames it into place.
  public func put(_ key: String, _ content: ObjectContent, contentType: String) async throws {
    let operation = doing("store", key)
    let name = try FileName(key, doing: operation)
    let temporary = "\(uploads)/\(name.upload(UUID().uuidString.replacing("-", with: "")))"
    let descriptor = try await inThreadPool(doing: operation) {
      let descriptor = Foundation.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw FileSystemFailure("make the file", temporary) }
      return descriptor
    }
    do {
      defer { close(descriptor) }
      for try await piece in try await CheckedBody(content: content, operation: operation).open() {
        try Task.checkCancellation()
        try await inThreadPool(doing: operation) { try Self.write(piece, to: descriptor, at: temporary) }
      }
      try Task.checkCancellation()
      try await inThreadPool(doing: operation) {
        _ = contentType.withCString { fsetxattr(descriptor, Self.mediaTypeAttribute, $0, strlen($0), 0) }
        guard fsync(descriptor) == 0 else { throw FileSystemFailure("synchronise the file", temporary) }
        guard rename(temporary, "\(objects)/\(name.text)") == 0 else {
          throw FileSystemFailure("rename the file", temporary)
        }
        try Self.synchronize(objects)
      }
    } catch {
      unlink(temporary)
      throw error
    }
  }

  /// What the file system says about the object's file.
  public func head(_ key: String) async throws -> ObjectAttributes? {
    let operation = doing("look at", key)
    do {
      return try await open(FileName(key, doing: operation), doing: operation).attributes
    } catch let error as ObjectStoreError where error.kind == .notFound {
      return nil
    }
  }

  /// Reads the object's file.
  public func get(_ key: String, range: Range<Int64>?) async throws -> ObjectDownload {
    let operation = doing("read", key)
    let (file, attributes) = try await open(FileName(key, doing: operation), doing: operation)
    let range = try ObjectRange.within(attributes.size, range, doing: operation)
    return ObjectDownload(
      attributes: attributes,
      range: range,
      body: ByteStream(unfolding: {
        var pieces = file.stream(range).makeAsyncIterator()
        var missing = Int64(range.count)
        return {
          let piece = try await self.translating(doing: operation) { try await pieces.next() }
          missing -= Int64(piece?.readableBytes ?? 0)
          guard piece != nil || missing == 0 else {
            throw ObjectStoreError(
              .contentMismatch,
              doing: operation,
              "the file has become shorter by \(missing) bytes"
            )
          }
          return piece
        }
      })
    )
  }

  /// Removes the object's file.
  public func delete(_ key: String) async throws {
    let operation = doing("delete", key)
    let path = "\(objects)/\(try FileName(key, doing: operation).text)"
    try await inThreadPool(doing: operation) {
      if unlink(path) == 0 {
        try Self.synchronize(objects)
      } else if errno != ENOENT {
        throw FileSystemFailure("remove the file", path)
      } else {
        _ = try FileStatus(path: objects)
      }
    }
  }

  /// Removes the objects' files, one after the other.
  public func delete(_ keys: [String]) async throws -> [ObjectDeletionFailure] {
    var failures: [ObjectDeletionFailure] = []
    for key in keys {
      try Task.checkCancellation()
      do {
        try await delete(key)
      } catch let error as ObjectStoreError where error.kind != .noSuchBucket {
        failures.append(ObjectDeletionFailure(key: key, error: error))
      }
    }
    return failures
  }

  /// Lists up to 10,000 objects; every page reads the whole directory.
  public func list(prefix: String, after: String?) async throws -> ObjectListing {
    try await inThreadPool(doing: "list the objects in \(directory)") {
      let keys = try Self.entries(of: objects)
        .compactMap { FileName(stored: $0)?.key }
        .filter { $0.utf8.starts(with: prefix.utf8) && after?.utf8.lexicographicallyPrecedes($0.utf8) != false }
        .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
      let page = keys.prefix(pageSize)
      let listed = try page.compactMap { key -> ListedObject? in
        let path = "\(objects)/\(try FileName(key, doing: "list").text)"
        do {
          let status = try FileStatus(path: path)
          return ListedObject(key: key, size: status.size, lastModified: status.lastModified)
        } catch let failure as FileSystemFailure where failure.code == ENOENT {
          return nil
        }
      }
      return ObjectListing(objects: listed, next: page.count < keys.count ? page.last : nil)
    }
  }

  /// Removes the files of uploads that were not written to since then.
  public func removeUnfinishedUploads(prefix: String, begunBefore: Date) async throws -> Int {
    try await inThreadPool(doing: "remove unfinished uploads in \(directory)") {
      var removed = 0
      for entry in try Self.entries(of: uploads) {
        guard let key = FileName(upload: entry)?.key, key.utf8.starts(with: prefix.utf8) else { continue }
        let path = "\(uploads)/\(entry)"
        do {
          guard try FileStatus(path: path).lastModified < begunBefore else { continue }
          guard unlink(path) == 0 else { throw FileSystemFailure("remove the file", path) }
          removed += 1
        } catch let failure as FileSystemFailure where failure.code == ENOENT {
          continue
        }
      }
      return removed
    }
  }

  private func doing(_ verb: String, _ key: String) -> String {
    "\(verb) the object \(ObjectKey.quoted(key)) in \(directory)"
  }

  private func open(
    _ name: FileName,
    doing operation: String
  ) async throws -> (file: ReadableFile, attributes: ObjectAttributes) {
    try await translating(doing: operation) {
      do {
        let file = try await ReadableFile.open("\(objects)/\(name.text)")
        let status = try await file.status()
        let attributes = ObjectAttributes(
          size: status.size,
          contentType: Self.mediaType(of: file.descriptor) ?? Self.defaultMediaType,
          lastModified: status.lastModified
        )
        return (file, attributes)
      } catch let failure as FileSystemFailure where failure.code == ENOENT {
        _ = try FileStatus(path: objects)
        throw ObjectStoreError(.notFound, doing: operation, "there is no such object")
      }
    }
  }

  private static func mediaType(of descriptor: Int32) -> String? {
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = fgetxattr(descriptor, mediaTypeAttribute, &bytes, bytes.count)
    return count > 0 ? String(validating: bytes.prefix(count), as: UTF8.self) : nil
  }

  private static func entries(of path: String) throws -> [String] {
    _ = try FileStatus(path: path)
    do {
      return try FileManager.default.contentsOfDirectory(atPath: path)
    } catch {
      throw FileSystemFailure("list the directory", path)
    }
  }

  private static func write(_ piece: ByteBuffer, to descriptor: Int32, at path: String) throws {
    try piece.withUnsafeReadableBytes { bytes in
      var written = 0
      while written < bytes.count {
        let count = Foundation.write(descriptor, bytes.baseAddress?.advanced(by: written), bytes.count - written)
        guard count >= 0 || errno == EINTR else { throw FileSystemFailure("write the file", path) }
        written += max(0, count)
      }
    }
  }

  /// Makes a rename or a removal survive a power failure.
  private static func synchronize(_ path: String) throws {
    let descriptor = Foundation.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileSystemFailure("open the directory", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw FileSystemFailure("synchronise the directory", path) }
  }

  private func inThreadPool<Result: Sendable>(
    doing operation: String,
    _ work: @escaping @Sendable () throws -> Result
  ) async throws -> Result {
    try await translating(doing: operation) { try await NIOThreadPool.singleton.runIfActive(work) }
  }

  private func translating<Result>(
    doing operation: String,
    _ work: () async throws -> Result
  ) async throws -> Result {
    do {
      return try await work()
    } catch let failure as FileSystemFailure {
      guard failure.code == ENOENT || failure.code == ENOTDIR, access(objects, F_OK) != 0 else {
        throw failure.error(doing: operation)
      }
      throw ObjectStoreError(
        .noSuchBucket,
        doing: operation,
        "\(directory) is not the directory of a store",
        remedy: "check that its file system is mounted; where there was no store yet, run jam-retention blob init"
      )
    }
  }
}
