import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// Answers the routes, to GET and HEAD.
struct HTTPServer: Service {
  private static let maximumConnections = 64
  private static let idleTimeout: TimeAmount = .seconds(60)

  let address: ListenAddress
  let routes: [HTTPRoute]
  let logger: Logger
  /// Is called when somebody can connect.
  let onListening: @Sendable () -> Void

  func run() async throws {
    // What the libraries log are no events of ours.
    let silence = Logger(label: "http") { _ in SwiftLogNoOpLogHandler() }
    let isListening = Atomic(false)
    let application = Application(
      responder: Responder(routes: Dictionary(routes.map { ($0.path, $0) }) { $1 }, logger: logger),
      server: .http1(configuration: .init(idleTimeout: Self.idleTimeout)),
      configuration: .init(
        address: .hostname(address.host, port: address.port),
        availableConnectionsDelegate: .maximum(Self.maximumConnections, logger: silence)
      ),
      onServerRunning: { channel in
        let port = channel.localAddress?.port ?? address.port
        logger.info("http listening", metadata: ["address": "\(ListenAddress(host: address.host, port: port))"])
        isListening.store(true, ordering: .relaxed)
        onListening()
      },
      logger: silence
    )
    do {
      try await application.run()
    } catch  where !(error is CancellationError || isListening.load(ordering: .relaxed)) {
      throw RunnerError("cannot listen on \(address): \(Self.reason(error)); choose another address with --listen")
    }
  }

  private static func reason(_ error: any Error) -> String {
    switch error {
    case let error as IOError: String(cString: strerror(error.errnoCode))
    case let error as SocketAddressError.UnknownHost: error.errorDescription
    default: "\(error)"
    }
  }

  private struct Responder: HTTPResponder {
    let routes: [String: HTTPRoute]
    let logger: Logger

    func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
      guard let route = routes[request.uri.path] else {
        return respond(.notFound, "no such page; there are: \(routes.keys.sorted().joined(separator: ", "))\n")
      }
      let response: Response
      switch request.method {
      case .get, .head: response = await respond(route)
      default:
        response = respond(.methodNotAllowed, "only GET and HEAD\n", HTTPRoute.plainText + [("Allow", "GET, HEAD")])
      }
      return request.method == .head ? response.createHeadResponse() : response
    }

    private func respond(_ route: HTTPRoute) async -> Response {
      do {
        let answer = try await route.answer()
        return respond(answer.isWell ? .ok : .serviceUnavailable, answer.text, route.headers)
      } catch {
        let level = HTTPRoute.level(of: error)
        logger.log(level: level, "request failed", metadata: ["path": "\(route.path)", "error": "\(error)"])
        return respond(.serviceUnavailable, "database: \(HTTPRoute.reason(error))\n")
      }
    }

    private func respond(
      _ status: HTTPResponse.Status,
      _ text: String,
      _ headers: [(name: String, value: String)] = HTTPRoute.plainText
    ) -> Response {
      var fields = HTTPFields()
      for (name, value) in headers {
        if let name = HTTPField.Name(name) { fields[name] = value }
      }
      fields[.cacheControl] = "no-store"
      fields[.xContentTypeOptions] = "nosniff"
      return Response(status: status, headers: fields, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
  }
}
