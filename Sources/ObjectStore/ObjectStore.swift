import Foundation

/// A place for immutable objects, each under a key: an S3 bucket (``S3Client``) or a directory (``DirectoryStore``).
///
/// A key is 1 to 1024 bytes of UTF-8 without control characters; none of its parts between slashes is `.` or `..`, because
/// servers and proxies disagree about those. Any other key is refused with ``ObjectStoreError/Kind/invalidKey``.
/// All requirements throw ``ObjectStoreError``, and `CancellationError` when the task is cancelled; `put` also throws what
/// the content's source throws, as it is.
public protocol ObjectStore: Sendable {
  /// Stores an object, in place of one that has the key already, and returns when the store has confirmed it.
  ///
  /// A content that does not have the size and hash that it claims is an error, and nothing of it is stored. After a
  /// failure nothing is stored either, unless the error says ``ObjectStoreError/outcomeIsUnknown``.
  func put(_ key: String, _ content: ObjectContent, contentType: String) async throws

  /// What the store says about an object, nil when there is none. A missing bucket or directory is an error.
  func head(_ key: String) async throws -> ObjectAttributes?

  /// Streams an object, or these of its bytes; a range that ends after the object is cut there.
  ///
  /// Throws ``ObjectStoreError/Kind/notFound`` when there is no such object, and
  /// ``ObjectStoreError/Kind/invalidRange`` when the range begins at its end or after it.
  func get(_ key: String, range: Range<Int64>?) async throws -> ObjectDownload

  /// Deletes an object; it is no error when there is none.
  ///
  /// When the error says ``ObjectStoreError/outcomeIsUnknown``, the object may be gone, or may still go later: a request
  /// that timed out here may wait in the server. It is repeated like any other request, so that even after a success
  /// an earlier attempt may be under way; do not use a key again whose deletion was ever asked for.
  func delete(_ key: String) async throws

  /// Deletes many objects, and returns those that the store did not delete; it is no error when one is missing.
  ///
  /// Throws when a whole request failed: then any of the objects may be gone, or may still go later. A request of which that
  /// is unknown is not repeated by itself: of an object that was deleted, no other request is under way.
  func delete(_ keys: [String]) async throws -> [ObjectDeletionFailure]

  /// One page of the objects whose keys begin with the prefix, in the order of their keys' bytes.
  ///
  /// - Parameter after: ``ObjectListing/next`` of the page before; nil for the first.
  func list(prefix: String, after: String?) async throws -> ObjectListing

  /// Removes what uploads have left that were begun before a moment and never ended (their process was killed), under
  /// keys that begin with the prefix. An upload that is still running then fails.
  ///
  /// - Returns: how many there were.
  func removeUnfinishedUploads(prefix: String, begunBefore: Date) async throws -> Int
}

extension ObjectStore {
  /// Streams a whole object.
  public func get(_ key: String) async throws -> ObjectDownload {
    try await get(key, range: nil)
  }
}
