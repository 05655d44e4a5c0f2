import AsyncHTTPClient
import Foundation
import NIOCore
import NIOPosix
import NIOSSL

/// Turns what went wrong in an attempt into an error that says what to do.
struct FailureReport {
  /// Clocks may differ by so much, as of "Error responses" of the Amazon S3 API Reference (`RequestTimeTooSkewed`).
  private static let allowedSkew: TimeInterval = 15 * 60

  let location: S3Location
  let operation: String

  /// What broke before there was a whole answer.
  func failure(_ error: any Error, stallTimeout: Duration) -> AttemptFailure {
    switch error {
    case let failure as AttemptFailure: return failure
    case let error as ObjectStoreError: return AttemptFailure(error: error, isTransient: false)
    case is StallWatch.Stalled:
      return stall(stallTimeout)
    case let error as HTTPClientError where [.readTimeout, .writeTimeout, .deadlineExceeded].contains(error):
      return stall(stallTimeout)
    case let error as HTTPClientError where Self.connectTimeouts.contains(error):
      return noAnswer()
    case ChannelError.connectTimeout:
      return noAnswer()
    case let error as NIOConnectionError:
      let reason =
        error.connectionErrors.first.map { "\($0.error)" } ?? (error.dnsAError ?? error.dnsAAAAError).map { "\($0)" }
      return transient(
        .connection,
        "\(error.host):\(error.port) cannot be reached: \(reason ?? "there is no address")",
        remedy: "check the endpoint, and that the store runs",
        isUnknown: false
      )
    case let error as IOError where error.errnoCode == ECONNREFUSED:
      return transient(
        .connection,
        "\(location.endpoint) cannot be reached: connection refused",
        remedy: "check the endpoint, and that the store runs",
        isUnknown: false
      )
    // The last one: the certificate is of another host.
    case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError:
      return AttemptFailure(
        error: ObjectStoreError(
          .connection,
          doing: operation,
          "no TLS connection to \(location.endpoint): \(error)",
          remedy: "check the certificate of the store, and name its authority's file if it has one of its own"
        ),
        isTransient: false
      )
    default:
      return transient(.connection, "the connection to \(location.endpoint) broke: \(error)", isUnknown: true)
    }
  }

  /// An answer other than success. `body` holds no more than its beginning.
  func failure(_ response: HTTPClientResponse, body: [UInt8], now: Date) -> AttemptFailure {
    let root = try? XMLReader.read(body)
    return failure(response, error: root?.name == "Error" ? root : nil, now: now)
  }

  /// An answer with this `Error` element, which may even come with a successful status.
  func failure(_ response: HTTPClientResponse, error: XMLElement?, now: Date) -> AttemptFailure {
    let status = Int(response.status.code)
    let code = error?["Code"]
    let serverDate = response.headers.first(name: "date").flatMap(Timestamp.http)
    let skew = serverDate.map { now.timeIntervalSince($0) } ?? 0
    let verdict = verdict(status: status, code: code, isSkewed: abs(skew) > Self.allowedSkew)
    var message = error?["Message"] ?? ""
    if message.isEmpty { message = "the store answers \(status) \(response.status.reasonPhrase)" }
    var remedy = verdict.remedy
    if verdict.kind == .clockSkew, let serverDate {
      remedy =
        "this machine's clock says \(Timestamp.basic(now)) and the store's \(Timestamp.basic(serverDate)); set it"
    }
    if let region = response.headers.first(name: "x-amz-bucket-region") ?? error?["Region"], region != location.region {
      remedy = "requests are signed for the region \(location.region); set it to \(Self.shown(region))"
    }
    return AttemptFailure(
      error: ObjectStoreError(
        verdict.kind,
        doing: operation,
        Self.shown(message),
        remedy: remedy,
        code: code.map(Self.shown),
        status: status,
        requestID: (response.headers.first(name: "x-amz-request-id") ?? error?["RequestId"]).map(Self.shown),
        outcomeIsUnknown: [500, 502, 504].contains(status)
      ),
      isTransient: verdict.isTransient,
      retryAfter: response.headers.first(name: "retry-after").flatMap { Self.pause($0, now: now) }
    )
  }

  /// An answer that no S3 store gives.
  func invalid(_ message: String) -> AttemptFailure {
    AttemptFailure(
      error: ObjectStoreError(
        .invalidResponse,
        doing: operation,
        message,
        remedy: "check that \(location.endpoint) is an S3 store, and what stands between"
      ),
      isTransient: false
    )
  }

  /// An answer that is shorter or longer than it should be.
  func truncated(_ message: String) -> AttemptFailure {
    transient(.connection, message, isUnknown: true)
  }

  private func transient(
    _ kind: ObjectStoreError.Kind,
    _ message: String,
    remedy: String? = nil,
    isUnknown: Bool
  ) -> AttemptFailure {
    AttemptFailure(
      error: ObjectStoreError(kind, doing: operation, message, remedy: remedy, outcomeIsUnknown: isUnknown),
      isTransient: true
    )
  }

  private static let connectTimeouts = [
    HTTPClientError.connectTimeout, .tlsHandshakeTimeout, .getConnectionFromPoolTimeout,
  ]

  private func noAnswer() -> AttemptFailure {
    transient(
      .timeout,
      "\(location.endpoint) does not answer",
      remedy: "check the endpoint, the network and firewalls",
      isUnknown: false
    )
  }

  private func stall(_ limit: Duration) -> AttemptFailure {
    transient(.timeout, "no byte came or went for \(limit)", isUnknown: true)
  }

  private typealias Verdict = (kind: ObjectStoreError.Kind, isTransient: Bool, remedy: String?)

  private func verdict(status: Int, code: String?, isSkewed: Bool) -> Verdict {
    switch code {
    case "NoSuchKey": return (.notFound, false, nil)
    case "NoSuchBucket":
      return (.noSuchBucket, false, "check the bucket's name and the endpoint, or create the bucket")
    case "RequestTimeTooSkewed": return (.clockSkew, false, "set this machine's clock")
    case _ where status == 403 && isSkewed: return (.clockSkew, false, "set this machine's clock")
    case "InvalidAccessKeyId":
      return (.invalidCredentials, false, "check the access key, and that it belongs to this store")
    case "SignatureDoesNotMatch": return (.invalidCredentials, false, "check the secret access key")
    case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
      return (.invalidCredentials, false, "get a new session token")
    case "InvalidRange": return (.invalidRange, false, nil)
    // The source was right when it was sent, so that it was damaged on its way.
    case "XAmzContentSHA256Mismatch", "BadDigest", "InvalidDigest":
      return (.damagedInTransit, true, "check what stands between, a proxy for example")
    case "RequestTimeout": return (.timeout, true, nil)
    case "SlowDown", "InternalError", "ServiceUnavailable": return (.unavailable, true, "see the store's own log")
    case "EntityTooLarge": return (.refused, false, "use smaller parts")
    default: break
    }
    switch status {
    case 301, 302, 307, 308: return (.invalidConfiguration, false, "check the endpoint, the region and the addressing")
    case 403: return (.accessDenied, false, "give the access key the right to do this in \(location.bucket)")
    case 404 where code == nil: return (.notFound, false, "check the endpoint, \(location.endpoint)")
    case 416: return (.invalidRange, false, nil)
    case 429, 500, 502, 503, 504: return (.unavailable, true, "see the store's own log")
    default: return (.refused, false, nil)
    }
  }

  /// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
  private static func pause(_ text: String, now: Date) -> Duration? {
    if let seconds = Int(text) { return .seconds(max(0, min(seconds, 86400))) }
    return Timestamp.http(text).map { .seconds(max(0, min($0.timeIntervalSince(now), 86400))) }
  }

  /// Text of the store as one line of a sensible length.
  private static func shown(_ text: String) -> String {
    let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    let plain = String(
      String.UnicodeScalarView(line.unicodeScalars.filter { $0.properties.generalCategory != .control })
    )
    return plain.count <= 300 ? plain : "\(plain.prefix(300))…"
  }
}
