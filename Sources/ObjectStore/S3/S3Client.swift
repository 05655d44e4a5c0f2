import AsyncHTTPClient
import Crypto
import Foundation
import NIOCore
import NIOHTTP1

/// A bucket of an S3-compatible store: AWS S3, SeaweedFS, MinIO, Ceph RGW.
///
/// Every payload's SHA-256 is signed, and that of an object also sent as its checksum, which SeaweedFS looks at alone: the
/// store itself refuses what was damaged on its way. (Amazon S3 User Guide, "Checking object integrity") What may pass is
/// repeated as ``S3RetryPolicy`` says; after that, and with every other failure, the store's own message is thrown.
public final class S3Client: ObjectStore {
  private static let pageSize = 1000
  private static let mostParts: Int64 = 10_000
  private static let longestTagged: Int64 = 1 << 20
  private static let defaultContentType = "application/octet-stream"
  private static let checksumHeader = "x-amz-checksum-sha256"

  let connection: S3Connection
  private let multipartThreshold: Int
  private let partSize: Int
  private let concurrentParts: Int
  private let budget: PartBudget

  /// A client; nothing is sent yet.
  ///
  /// - Throws: ``ObjectStoreError`` when the settings make no sense.
  public convenience init(_ configuration: S3Configuration) throws {
    try self.init(configuration, S3Surroundings())
  }

  init(_ configuration: S3Configuration, _ surroundings: S3Surroundings) throws {
    connection = try S3Connection(configuration, surroundings)
    multipartThreshold = configuration.multipartThreshold
    partSize = max(1, configuration.partSize)
    concurrentParts = max(1, configuration.concurrentParts)
    budget = PartBudget(configuration.concurrentParts)
  }

  /// Uploads the content with its hash signed, in parts where it is large. (PutObject, CreateMultipartUpload, UploadPart,
  /// CompleteMultipartUpload, AbortMultipartUpload)
  public func put(_ key: String, _ content: ObjectContent, contentType: String) async throws {
    let operation = doing("store", key)
    try ObjectKey.check(key, doing: operation)
    guard content.size > Int64(multipartThreshold) else {
      // To compute the tag of a large content takes longer than to ask the store for its size.
      let tag = content.size <= Self.longestTagged ? EntityTag() : nil
      let request = S3Request(
        method: .PUT,
        key: key,
        headers: [
          (name: "content-type", value: contentType),
          (name: Self.checksumHeader, value: Data(hexadecimal: content.sha256).base64EncodedString()),
        ],
        body: .content(tag?.computed(from: content) ?? content),
        operation: operation
      )
      let answer = try await connection.send(request)
      guard let tag else { return try await confirm(key, content.size, operation) }
      if tag.matches(answer.first(name: "etag")) { return }
      return try await compare(key, content, operation)
    }
    do {
      try await putInParts(key, content, contentType)
    } catch let error as ObjectStoreError where error.code == "NoSuchUpload" {
      // An attempt to complete it may have succeeded although its answer was lost. What is there now nobody knows.
      try await putInParts(key, content, contentType)
    }
  }

  /// Asks for the object's headers. (HeadObject, and HeadBucket where there is no object)
  public func head(_ key: String) async throws -> ObjectAttributes? {
    let operation = doing("look at", key)
    try ObjectKey.check(key, doing: operation)
    do {
      return try await connection.send(S3Request(method: .HEAD, key: key, operation: operation)) { response, report in
        for try await _ in response.body {}
        guard let size = response.headers.first(name: "content-length").flatMap({ Int64($0) }) else {
          throw report.invalid("the answer has no Content-Length")
        }
        return try Self.attributes(response.headers, size: size, report)
      }
    } catch let error as ObjectStoreError where error.kind == .notFound {
      // The answer has no body that could tell whether the object or the whole bucket is missing.
      try await checkBucket(operation)
      return nil
    }
  }

  /// Streams the object; where the connection breaks, it goes on behind the last byte that came. (GetObject)
  public func get(_ key: String, range: Range<Int64>?) async throws -> ObjectDownload {
    let operation = doing("read", key)
    try ObjectKey.check(key, doing: operation)
    if let range, range.isEmpty || range.lowerBound < 0 {
      // HTTP has no way to ask for nothing.
      guard let attributes = try await head(key) else {
        throw ObjectStoreError(.notFound, doing: operation, "there is no such object")
      }
      let part = try ObjectRange.within(attributes.size, range, doing: operation)
      return ObjectDownload(attributes: attributes, range: part, body: ByteStream(ByteBuffer()))
    }
    let download = S3Download(connection: connection, key: key, operation: operation)
    let first = try await download.open(range, etag: nil)
    return ObjectDownload(attributes: first.attributes, range: first.range, body: download.body(first))
  }

  /// Deletes the object. (DeleteObject)
  public func delete(_ key: String) async throws {
    let operation = doing("delete", key)
    try ObjectKey.check(key, doing: operation)
    do {
      _ = try await connection.send(S3Request(method: .DELETE, key: key, operation: operation))
    } catch let error as ObjectStoreError where error.code == "NoSuchKey" {
      return
    }
  }

  /// Deletes the objects, a thousand with each request. (DeleteObjects)
  public func delete(_ keys: [String]) async throws -> [ObjectDeletionFailure] {
    let operation = doing("delete objects")
    for key in keys {
      try ObjectKey.check(key, doing: operation)
    }
    var failures: [ObjectDeletionFailure] = []
    for start in stride(from: 0, to: keys.count, by: Self.pageSize) {
      failures += try await deletePage(keys[start..<min(start + Self.pageSize, keys.count)], operation)
    }
    return failures
  }

  /// Lists up to 1,000 objects. (ListObjectsV2)
  public func list(prefix: String, after: String?) async throws -> ObjectListing {
    var query = [
      (name: "list-type", value: "2"), (name: "max-keys", value: "\(Self.pageSize)"), (name: "prefix", value: prefix),
    ]
    if let after { query.append((name: "continuation-token", value: after)) }
    let operation = doing("list objects")
    let page = try await connection.document(
      S3Request(method: .GET, query: query, operation: operation),
      root: "ListBucketResult"
    )
    let objects = try page.all("Contents").map { entry in
      guard let key = entry["Key"], let size = entry["Size"].flatMap({ Int64($0) }),
        let modified = entry["LastModified"].flatMap(Timestamp.iso8601)
      else { throw report(operation).invalid("an object in the answer has no key, size or date").error }
      return ListedObject(key: key, size: size, lastModified: modified)
    }
    guard page["IsTruncated"] == "true" else { return ObjectListing(objects: objects, next: nil) }
    guard let next = page["NextContinuationToken"], !next.isEmpty, next != after else {
      throw report(operation).invalid("the answer says that more follow, and not how to get them").error
    }
    return ObjectListing(objects: objects, next: next)
  }

  /// Aborts multipart uploads. (ListMultipartUploads, AbortMultipartUpload)
  public func removeUnfinishedUploads(prefix: String, begunBefore: Date) async throws -> Int {
    let operation = doing("remove unfinished uploads")
    var removed = 0
    for upload in try await unfinishedUploads(prefix: prefix, operation) where upload.begun < begunBefore {
      try await abort(upload.key, upload.identifier, operation)
      removed += 1
    }
    return removed
  }

  /// Makes the bucket, unless it is there already and one's own. (CreateBucket)
  public func createBucket() async throws {
    let region = connection.location.region
    var request = S3Request(method: .PUT, operation: "create the bucket \(bucketName)")
    // The one region that has no name here.
    if region != "us-east-1" {
      request.body = Self.document(
        "CreateBucketConfiguration",
        "<LocationConstraint>\(XMLText.escaped(region))</LocationConstraint>"
      )
    }
    do {
      _ = try await connection.send(request)
    } catch let error as ObjectStoreError where error.code == "BucketAlreadyOwnedByYou" {
      return
    }
  }

  private var bucketName: String {
    "\(connection.location.bucket) at \(connection.location.endpoint)"
  }

  private func doing(_ verb: String, _ key: String? = nil) -> String {
    "\(verb)\(key.map { " the object \(ObjectKey.quoted($0))" } ?? "") in the bucket \(bucketName)"
  }

  private func report(_ operation: String) -> FailureReport {
    FailureReport(location: connection.location, operation: operation)
  }

  private func checkBucket(_ operation: String) async throws {
    do {
      _ = try await connection.send(S3Request(method: .HEAD, operation: operation))
    } catch let error as ObjectStoreError where error.kind == .accessDenied {
      // It exists; only to list it is not allowed.
      return
    } catch let error as ObjectStoreError where error.kind == .notFound {
      throw ObjectStoreError(
        .noSuchBucket,
        doing: operation,
        "there is no such bucket",
        remedy: "check the bucket's name and the endpoint, or create the bucket",
        status: error.status,
        requestID: error.requestID
      )
    }
  }

  static func attributes(_ headers: HTTPHeaders, size: Int64, _ report: FailureReport) throws -> ObjectAttributes {
    guard let modified = headers.first(name: "last-modified").flatMap(Timestamp.http) else {
      throw report.invalid("the answer has no Last-Modified")
    }
    let contentType = headers.first(name: "content-type") ?? defaultContentType
    return ObjectAttributes(size: size, contentType: contentType, lastModified: modified)
  }

  private static func document(_ root: String, _ content: String) -> S3Request.Body {
    let bytes = ByteBuffer(string: "<\(root) xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\(content)</\(root)>")
    return .bytes(bytes, sha256: bytes.digest(SHA256.self).hexadecimal)
  }

  private func deletePage(_ keys: ArraySlice<String>, _ operation: String) async throws -> [ObjectDeletionFailure] {
    let list = keys.map { "<Object><Key>\(XMLText.escaped($0))</Key></Object>" }.joined()
    var request = S3Request(method: .POST, query: [(name: "delete", value: "")], operation: operation)
    request.mayArriveTwice = false
    request.body = Self.document("Delete", list)
    if case .bytes(let bytes, _) = request.body {
      // Demanded for this operation, whatever else is signed.
      let digest = Data(bytes.digest(Insecure.MD5.self)).base64EncodedString()
      request.headers = [(name: "content-md5", value: digest)]
    }
    let answer = try await connection.document(request, root: "DeleteResult")
    // Bytes, because Swift takes different spellings of a character for equal.
    let deleted = Set(answer.all("Deleted").compactMap { $0["Key"].map { Array($0.utf8) } })
    let refused = answer.all("Error")
    return keys.compactMap { key in
      let bytes = Array(key.utf8)
      let error = refused.first { $0["Key"].map { Array($0.utf8) } == bytes }
      if error?["Code"] == "NoSuchKey" || (error == nil && deleted.contains(bytes)) { return nil }
      let message = error?["Message"] ?? "the store does not say what has become of it"
      return ObjectDeletionFailure(
        key: key,
        error: ObjectStoreError(
          error == nil ? .invalidResponse : error?["Code"] == "AccessDenied" ? .accessDenied : .refused,
          doing: doing("delete", key),
          message,
          code: error?["Code"],
          outcomeIsUnknown: error == nil
        )
      )
    }
  }

  private func putInParts(_ key: String, _ content: ObjectContent, _ contentType: String) async throws {
    let operation = doing("store", key)
    let begin = S3Request(
      method: .POST,
      key: key,
      query: [(name: "uploads", value: "")],
      headers: [(name: "content-type", value: contentType), (name: "x-amz-checksum-algorithm", value: "SHA256")],
      operation: operation
    )
    let answer = try await connection.document(begin, root: "InitiateMultipartUploadResult")
    guard let upload = answer["UploadId"], !upload.isEmpty else {
      throw report(operation).invalid("the answer names no upload").error
    }
    do {
      let parts = try await sendParts(key, content, upload, operation)
      try await complete(key, upload, parts, operation)
    } catch {
      // In a task of its own, because this one may be cancelled.
      _ = await Task { try await self.abort(key, upload, operation) }.result
      throw error
    }
    try await confirm(key, content.size, operation)
  }

  /// Asks the store whether it has the whole object.
  private func confirm(_ key: String, _ size: Int64, _ operation: String) async throws {
    let stored = try await head(key)
    guard stored?.size == size else {
      throw report(operation).invalid("the store has \(stored.map { "\($0.size)" } ?? "no") bytes of \(size)").error
    }
  }

  /// Reads a small object back. A tag of another kind proves nothing, and a store that gives the usual one and looks at no
  /// checksum has got something else.
  private func compare(_ key: String, _ content: ObjectContent, _ operation: String) async throws {
    try await confirm(key, content.size, operation)
    var digest = SHA256()
    for try await piece in try await get(key, range: nil).body { digest.update(piece) }
    let found = digest.finalize().hexadecimal
    guard found == content.sha256 else {
      throw ObjectStoreError(
        .damagedInTransit,
        doing: operation,
        "the SHA-256 of what the store has is \(found) instead of \(content.sha256)",
        remedy: "check what stands between, a proxy for example"
      )
    }
  }

  /// A part as the upload's end names it.
  private struct Part {
    let number: Int
    let tag: String
    /// Its SHA-256 in Base64.
    let checksum: String
  }

  /// Sends the content in parts, and returns them in order.
  private func sendParts(
    _ key: String,
    _ content: ObjectContent,
    _ upload: String,
    _ operation: String
  ) async throws -> [Part] {
    let size = max(partSize, Int((content.size + Self.mostParts - 1) / Self.mostParts))
    let body = try await CheckedBody(content: content, operation: operation).open()
    return try await withThrowingTaskGroup(of: Part.self) { [budget] group in
      var reader = PartReader(body, size: size)
      var parts: [Part] = []
      var number = 0
      while true {
        // Also so that the failure of a part ends the upload before the rest is read.
        if number - parts.count >= concurrentParts, let sent = try await group.next() { parts.append(sent) }
        try await budget.acquire()
        let bytes: ByteBuffer?
        do {
          bytes = try await reader.next()
        } catch {
          budget.release()
          throw error
        }
        guard let bytes else {
          budget.release()
          break
        }
        number += 1
        group.addTask { [number] in
          defer { budget.release() }
          return try await self.send(bytes, number, key, upload, operation)
        }
      }
      for try await sent in group { parts.append(sent) }
      return parts.sorted { $0.number < $1.number }
    }
  }

  private func send(
    _ bytes: ByteBuffer,
    _ number: Int,
    _ key: String,
    _ upload: String,
    _ operation: String
  ) async throws -> Part {
    let hash = bytes.digest(SHA256.self)
    let checksum = Data(hash).base64EncodedString()
    let request = S3Request(
      method: .PUT,
      key: key,
      query: [(name: "partNumber", value: "\(number)"), (name: "uploadId", value: upload)],
      headers: [(name: Self.checksumHeader, value: checksum)],
      body: .bytes(bytes, sha256: hash.hexadecimal),
      operation: operation
    )
    guard let tag = try await connection.send(request).first(name: "etag") else {
      throw report(operation).invalid("the answer to a part has no ETag").error
    }
    return Part(number: number, tag: tag, checksum: checksum)
  }

  private func complete(_ key: String, _ upload: String, _ parts: [Part], _ operation: String) async throws {
    let parts = parts.map { part in
      """
      <Part><PartNumber>\(part.number)</PartNumber><ETag>\(XMLText.escaped(part.tag))</ETag>\
      <ChecksumSHA256>\(part.checksum)</ChecksumSHA256></Part>
      """
    }
    let request = S3Request(
      method: .POST,
      key: key,
      query: [(name: "uploadId", value: upload)],
      body: Self.document("CompleteMultipartUpload", parts.joined()),
      operation: operation
    )
    // Nothing in the answer is needed, and stores name it in more than one way; a failure is an Error in all of them.
    _ = try await connection.document(request, root: nil)
  }

  private func abort(_ key: String, _ upload: String, _ operation: String) async throws {
    let request = S3Request(
      method: .DELETE,
      key: key,
      query: [(name: "uploadId", value: upload)],
      operation: operation
    )
    do {
      _ = try await connection.send(request)
    } catch let error as ObjectStoreError where error.code == "NoSuchUpload" {
      return
    }
  }

  private func unfinishedUploads(
    prefix: String,
    _ operation: String
  ) async throws -> [(key: String, identifier: String, begun: Date)] {
    var uploads: [(key: String, identifier: String, begun: Date)] = []
    var markers: [(name: String, value: String)] = []
    while true {
      let query = [(name: "uploads", value: ""), (name: "prefix", value: prefix)] + markers
      let page = try await connection.document(
        S3Request(method: .GET, query: query, operation: operation),
        root: "ListMultipartUploadsResult"
      )
      uploads += try page.all("Upload").map { entry in
        guard let key = entry["Key"], let identifier = entry["UploadId"],
          let begun = entry["Initiated"].flatMap(Timestamp.iso8601)
        else { throw report(operation).invalid("an upload in the answer has no key, identifier or date").error }
        return (key, identifier, begun)
      }
      guard page["IsTruncated"] == "true" else { return uploads }
      let next = [("key-marker", "NextKeyMarker"), ("upload-id-marker", "NextUploadIdMarker")]
        .compactMap { name, element in page[element].map { (name: name, value: $0) } }
      guard !next.isEmpty, !next.elementsEqual(markers, by: ==) else {
        throw report(operation).invalid("the answer says that more follow, and not how to get them").error
      }
      markers = next
    }
  }
}
