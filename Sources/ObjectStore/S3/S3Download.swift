import AsyncHTTPClient
import Foundation
import NIOCore
import Synchronization

/// The bytes of an object, over as many connections as it takes.
struct S3Download: Sendable {
  /// A part of the object on its way.
  struct Answer: Sendable {
    let attributes: ObjectAttributes
    let etag: String?
    let range: Range<Int64>
    let body: HTTPClientResponse.Body
  }

  let connection: S3Connection
  let key: String
  let operation: String

  /// Asks for the object, or a part of it; with a tag only as long as it is still the same.
  func open(_ range: Range<Int64>?, etag: String?) async throws -> Answer {
    var request = S3Request(method: .GET, key: key, operation: operation)
    if let range { request.headers.append((name: "range", value: "bytes=\(range.lowerBound)-\(range.upperBound - 1)")) }
    if let etag { request.headers.append((name: "if-match", value: etag)) }
    return try await connection.send(request) { response, report in
      guard let length = response.headers.first(name: "content-length").flatMap({ Int64($0) }), length >= 0 else {
        throw report.invalid("the answer has no Content-Length")
      }
      var size = length
      var part = 0..<length
      if let range {
        guard response.status == .partialContent,
          let told = response.headers.first(name: "content-range").flatMap(Self.contentRange),
          told.range.lowerBound == range.lowerBound, told.range == range.clamped(to: 0..<told.size),
          told.range.count == length
        else { throw report.invalid("the answer is not the part of the object that was asked for") }
        size = told.size
        part = told.range
      }
      return Answer(
        attributes: try S3Client.attributes(response.headers, size: size, report),
        etag: response.headers.first(name: "etag"),
        range: part,
        body: response.body
      )
    }
  }

  /// The bytes from the first answer on.
  func body(_ first: Answer) -> ByteStream {
    // An answer can be read once; who reads a second time asks the store again.
    let unused = Unused(first)
    return ByteStream(unfolding: { [attributes = first.attributes, etag = first.etag, range = first.range] in
      var reader = Reader(self, attributes: attributes, etag: etag, range: range, answer: unused.take())
      return { try await reader.next() }
    })
  }

  private final class Unused: Sendable {
    private let answer: Mutex<Answer?>

    init(_ answer: Answer) {
      self.answer = Mutex(answer)
    }

    func take() -> Answer? {
      answer.withLock { answer in
        defer { answer = nil }
        return answer
      }
    }
  }

  private struct Reader {
    let download: S3Download
    let attributes: ObjectAttributes
    let etag: String?
    let end: Int64
    var offset: Int64
    var attempt = 1
    var pieces: HTTPClientResponse.Body.AsyncIterator?

    init(_ download: S3Download, attributes: ObjectAttributes, etag: String?, range: Range<Int64>, answer: Answer?) {
      self.download = download
      self.attributes = attributes
      self.etag = etag
      offset = range.lowerBound
      end = range.upperBound
      pieces = answer?.body.makeAsyncIterator()
    }

    mutating func next() async throws -> ByteBuffer? {
      let connection = download.connection
      let report = FailureReport(location: connection.location, operation: download.operation)
      while true {
        guard offset < end || pieces != nil else { return nil }
        var failure: AttemptFailure
        do {
          if pieces == nil { try await open() }
          if let piece = try await pieces?.next() {
            offset += Int64(piece.readableBytes)
            guard offset <= end else { throw report.truncated("more bytes came than were announced") }
            attempt = 1
            return piece
          }
          pieces = nil
          guard offset == end else { throw report.truncated("\(end - offset) of the announced bytes did not come") }
          return nil
        } catch {
          try Task.checkCancellation()
          pieces = nil
          failure = report.failure(error, stallTimeout: connection.stallTimeout)
        }
        failure.error.attempts = max(attempt, failure.error.attempts)
        failure.error.outcomeIsUnknown = false
        guard failure.isTransient, offset <= end,
          let pause = connection.retries.pause(
            after: attempt,
            retryAfter: failure.retryAfter,
            random: connection.surroundings.random
          )
        else { throw failure.error }
        try await connection.surroundings.sleep(pause)
        attempt += 1
      }
    }

    /// Asks for the rest.
    private mutating func open() async throws {
      let answer = try await download.open(offset..<end, etag: etag)
      guard answer.attributes == attributes, answer.range == offset..<end else {
        throw ObjectStoreError(.contentMismatch, doing: download.operation, "the object changed while it was read")
      }
      pieces = answer.body.makeAsyncIterator()
    }
  }

  /// `bytes 0-499/1234` (RFC 9110, section 14.4).
  private static func contentRange(_ text: String) -> (range: Range<Int64>, size: Int64)? {
    guard text.hasPrefix("bytes ") else { return nil }
    let numbers = text.dropFirst("bytes ".count).split(whereSeparator: { $0 == "-" || $0 == "/" }).map { Int64($0) }
    guard numbers.count == 3, let first = numbers[0], let last = numbers[1], let size = numbers[2],
      first >= 0, last >= first, last < size
    else { return nil }
    return (first..<(last + 1), size)
  }
}
