import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// Signs requests, sends them, and repeats those that may succeed the next time.
final class S3Connection: Sendable {
  /// Connections at once; a request beyond them waits, which must not look like a stall.
  private static let connections = 256
  private static let longestErrorDocument = 64 << 10
  private static let longestDocument = 16 << 20

  let location: S3Location
  let retries: S3RetryPolicy
  let stallTimeout: Duration
  let surroundings: S3Surroundings
  private let credentials: CredentialCache
  private let signer: SigV4Signer
  private let http: HTTPClient

  init(_ configuration: S3Configuration, _ surroundings: S3Surroundings) throws {
    location = try S3Location(configuration)
    retries = configuration.retries
    stallTimeout = configuration.stallTimeout
    credentials = CredentialCache(configuration.credentials)
    signer = SigV4Signer(region: configuration.region)
    self.surroundings = surroundings
    var settings = HTTPClient.Configuration()
    settings.redirectConfiguration = .disallow
    settings.httpVersion = .http1Only
    settings.timeout.connect = min(.seconds(10), TimeAmount(stallTimeout))
    settings.timeout.read = TimeAmount(stallTimeout)
    settings.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Self.connections
    // Servers close idle connections; the sooner this side does, the fewer requests run into that.
    settings.connectionPool.idleTimeout = .seconds(5)
    // Repeating is done here, for all reasons alike.
    settings.connectionPool.retryConnectionEstablishment = false
    settings.dnsOverride = surroundings.addresses
    if let file = configuration.certificateAuthorityFile {
      var tls = TLSConfiguration.makeClientConfiguration()
      do {
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file))
      } catch {
        throw ObjectStoreError(
          .invalidConfiguration,
          doing: "read the certificates in \(file)",
          "\(error)",
          remedy: "name a file of PEM certificates"
        )
      }
      settings.tlsConfiguration = tls
    }
    http = HTTPClient(configuration: settings)
  }

  deinit {
    // Nobody is left who could use it, so that nobody needs to wait.
    http.shutdown { _ in }
  }

  /// Sends the request until it is answered with success, and hands the answer on; what `read` throws may count as a
  /// failed attempt, too.
  func send<Answer: Sendable>(
    _ request: S3Request,
    _ read: @Sendable (HTTPClientResponse, FailureReport) async throws -> Answer
  ) async throws -> Answer {
    let report = FailureReport(location: location, operation: request.operation)
    var attempt = 1
    var outcomeIsUnknown = false
    var hasNewCredentials = false
    while true {
      try Task.checkCancellation()
      let signedWith = try credentials.credentials(at: surroundings.now())
      var failure: AttemptFailure
      do {
        let response = try await self.attempt(request, signedWith)
        guard (200..<300).contains(response.status.code) else {
          let body = try await Self.beginning(of: response.body)
          throw report.failure(response, body: body, now: surroundings.now())
        }
        return try await read(response, report)
      } catch let source as SourceFailure {
        throw source.error
      } catch {
        try Task.checkCancellation()
        failure = report.failure(error, stallTimeout: stallTimeout)
      }
      outcomeIsUnknown = outcomeIsUnknown || (failure.error.outcomeIsUnknown && request.mayChangeAnything)
      failure.error.outcomeIsUnknown = outcomeIsUnknown
      failure.error.attempts = attempt
      if failure.error.kind == .invalidCredentials, !hasNewCredentials, try credentials.replace(signedWith) {
        hasNewCredentials = true
        continue
      }
      guard failure.isTransient, request.mayArriveTwice || !outcomeIsUnknown,
        let pause = retries.pause(after: attempt, retryAfter: failure.retryAfter, random: surroundings.random)
      else { throw failure.error }
      try await surroundings.sleep(pause)
      attempt += 1
    }
  }

  /// Sends the request and reads its answer to the end, which has to be nothing of interest.
  func send(_ request: S3Request) async throws -> HTTPHeaders {
    try await send(request) { response, _ in
      for try await _ in response.body {}
      return response.headers
    }
  }

  /// Sends the request and reads the document that answers it.
  func document(_ request: S3Request, root: String?) async throws -> XMLElement {
    try await send(request) { [surroundings] response, report in
      var bytes: [UInt8] = []
      for try await piece in response.body {
        guard bytes.count + piece.readableBytes <= Self.longestDocument else {
          throw report.invalid("the answer is longer than \(Self.longestDocument) bytes")
        }
        bytes += piece.readableBytesView
      }
      do {
        let element = try XMLReader.read(bytes)
        // S3 has sent the status before it knew that it would fail ("CompleteMultipartUpload").
        if element.name == "Error" { throw report.failure(response, error: element, now: surroundings.now()) }
        guard let root, element.name != root else { return element }
        throw report.invalid("the answer is \(element.name) instead of \(root)")
      } catch let failure as XMLReader.Failure {
        throw report.invalid("the answer is no proper XML: \(failure.message)")
      }
    }
  }

  private func attempt(_ request: S3Request, _ signedWith: S3Credentials) async throws -> HTTPClientResponse {
    let path = location.path(request.key)
    let hash = request.payloadHash
    let headers = request.headers + [(name: "host", value: location.host), (name: "x-amz-content-sha256", value: hash)]
    let toSign = SigV4Signer.Request(
      method: request.method.rawValue,
      path: path,
      query: request.query,
      headers: headers,
      payloadHash: hash
    )
    let signature = signer.sign(toSign, with: signedWith, at: surroundings.now())
    var message = HTTPClientRequest(
      url: location.url(path: path, query: SigV4Signer.encodedQuery(request.query))
    )
    message.method = request.method
    message.headers = HTTPHeaders((headers + signature).map { ($0.name, $0.value) })
    let watch = StallWatch(limit: stallTimeout)
    let sourceFailure = Failure()
    switch request.body {
    case .empty: break
    case .bytes(let bytes, _): message.body = .bytes(bytes)
    case .content(let content):
      let body = try await Self.source {
        try await CheckedBody(content: content, operation: request.operation).open()
      }
      message.body = .stream(watched(body, watch, sourceFailure), length: .known(content.size))
    }
    do {
      return try await execute(message, watch)
    } catch {
      throw sourceFailure.error.map { SourceFailure(error: $0) } ?? error
    }
  }

  /// Holds what the content's source has thrown, which the HTTP client may hide behind an error of its own.
  private final class Failure: Sendable {
    private let thrown = Mutex<(any Error)?>(nil)

    var error: (any Error)? {
      get { thrown.withLock { $0 } }
      set { thrown.withLock { $0 = newValue } }
    }
  }

  private func watched(_ body: ByteStream, _ watch: StallWatch, _ failure: Failure) -> ByteStream {
    ByteStream(unfolding: {
      var pieces = body.makeAsyncIterator()
      return {
        watch.pause()
        defer { watch.resume() }
        do {
          return try await pieces.next()
        } catch let cancellation as CancellationError {
          // Not the source's: the HTTP client has given the request up.
          throw cancellation
        } catch {
          failure.error = error
          throw error
        }
      }
    })
  }

  private func execute(_ message: HTTPClientRequest, _ watch: StallWatch) async throws -> HTTPClientResponse {
    try await withThrowingTaskGroup(of: HTTPClientResponse.self) { [http] group in
      group.addTask {
        do {
          return try await http.execute(message, deadline: .distantFuture)
        } catch ChannelError.ioOnClosedChannel where watch.hasStalled {
          // What the client's own read timeout does to the rest of a body that the store did not take.
          throw StallWatch.Stalled()
        }
      }
      group.addTask { try await watch.watch() }
      defer { group.cancelAll() }
      guard let response = try await group.next() else { throw CancellationError() }
      return response
    }
  }

  private static func source<Value>(_ open: () async throws -> Value) async throws -> Value {
    do {
      return try await open()
    } catch {
      throw SourceFailure(error: error)
    }
  }

  /// Enough of an error's document.
  private static func beginning(of body: HTTPClientResponse.Body) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    for try await piece in body {
      bytes += piece.readableBytesView
      if bytes.count > longestErrorDocument { break }
    }
    return bytes
  }
}
