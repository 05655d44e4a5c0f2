import Foundation
import FoundationNetworking
import Testing

/// `jam-retention serve`, as it runs.
final class RunningService {
  struct Answer {
    let status: Int
    let text: String
    let fields: [String: String]
  }

  private let command: Command

  /// Starts it on a free port of loopback, and has a run that is due begin at once.
  init(_ connectionString: String, _ arguments: String..., environment: [String: String] = [:]) throws {
    command = try Command(
      ["serve", "--log-format", "json", "--log-level", "debug"]
        + (arguments.contains("--listen") ? [] : ["--listen", "127.0.0.1:0"]) + arguments,
      environment: ["RUNTIME_JAM_PG_DSN": connectionString, "RUNTIME_JAM_RETENTION_JITTER": "0s"].merging(environment) {
        $1
      }
    )
  }

  deinit {
    send(SIGKILL)
  }

  var isRunning: Bool { command.isRunning }

  func send(_ signal: Int32) {
    if command.isRunning { kill(command.processID, signal) }
  }

  /// Waits for its end.
  func end(_ location: SourceLocation = #_sourceLocation) throws -> Command.Result {
    try eventually("the service's end", location, isSo: { !command.isRunning })
    return try command.end()
  }

  /// The events of one name until now.
  func events(_ name: String) throws -> [[String: Any]] {
    let log = try command.errorSoFar()
    // The last line may not be whole yet.
    let lines = log.split(separator: "\n", omittingEmptySubsequences: false).dropLast().filter { $0.hasPrefix("{") }
    return try objects(lines).filter { $0["event"] as? String == name }
  }

  /// Waits for an event.
  @discardableResult
  func wait(
    for event: String,
    count: Int = 1,
    where condition: ([String: Any]) -> Bool = { _ in true },
    _ location: SourceLocation = #_sourceLocation
  ) throws -> [String: Any] {
    try eventually("event \(count) \"\(event)\"", location) {
      let hasEnded = !command.isRunning
      let found = try events(event).filter(condition)
      if found.count >= count { return found[count - 1] }
      let log = try command.errorSoFar()
      try #require(!hasEnded, "it ended: \(log)", sourceLocation: location)
      return nil
    }
  }

  func address() throws -> String {
    let event = try wait(for: "http listening")
    return try #require(event["address"] as? String)
  }

  /// Asks it over HTTP; nil: nobody answers.
  private func ask(_ path: String, method: String) throws -> Answer? {
    let url = "http://\(try address())\(path)"
    var request = URLRequest(url: try #require(URL(string: url)))
    request.httpMethod = method
    // URLSession has no other way to be waited for.
    let ended = DispatchSemaphore(value: 0)
    nonisolated(unsafe) var answer: Answer?
    let task = URLSession.shared.dataTask(with: request) { data, response, _ in
      if let response = response as? HTTPURLResponse {
        let fields = response.allHeaderFields.map { ("\($0.key)".lowercased(), "\($0.value)") }
        answer = Answer(
          status: response.statusCode,
          text: String(decoding: data ?? Data(), as: UTF8.self),
          fields: Dictionary(fields) { $1 }
        )
      }
      ended.signal()
    }
    task.resume()
    ended.wait()
    return answer
  }

  /// Asks it over HTTP, which it must answer.
  func answer(_ path: String, method: String = "GET") throws -> Answer {
    let answer = try ask(path, method: method)
    return try #require(answer)
  }

  /// Waits until a path is answered with this status, and returns the text.
  func wait(for status: Int, at path: String, _ location: SourceLocation = #_sourceLocation) throws -> String {
    try eventually("\(status) at \(path)", location) {
      let answer = try ask(path, method: "GET")
      return answer?.status == status ? answer?.text : nil
    }
  }
}
