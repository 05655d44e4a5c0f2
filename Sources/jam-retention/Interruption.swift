import Dispatch
import Foundation
import Postgres
import Synchronization

/// What SIGINT and SIGTERM do: the statement that runs is cancelled, the command says so and ends; a command that knows
/// how to end well is told to. A second signal ends it at once.
enum Interruption {
  private struct State {
    var signal: Int32?
    var connections: [Connection] = []
    var tasks: [@Sendable (Int32) -> Void] = []
    var sources: [any DispatchSourceSignal] = []
  }

  private static let state = Mutex(State())

  /// The signal that has come, if one has.
  static var signal: Int32? { state.withLock(\.signal) }

  /// Listens from now on.
  static func begin() {
    // Who reads what is printed may go away; that is for whoever prints, and ends no work.
    Foundation.signal(SIGPIPE, SIG_IGN)
    state.withLock { state in
      for signal in [SIGINT, SIGTERM] {
        let source = DispatchSource.makeSignalSource(signal: signal)
        source.setEventHandler { receive(signal) }
        source.resume()
        state.sources.append(source)
      }
    }
  }

  /// Has the connection's statements cancelled when a signal comes.
  static func watch(_ connection: Connection) {
    state.withLock { $0.connections.append(connection) }
  }

  /// Runs asynchronous work to its end; a signal cancels it, and then it has to end by itself.
  ///
  /// - Parameter stop: tells the work to end, in place of cancelling it; gets the signal's name.
  static func awaiting<Value: Sendable>(
    stop: (@Sendable (String) -> Void)? = nil,
    _ work: @escaping @Sendable () async throws -> Value
  ) throws -> Value {
    let result = Mutex<Result<Value, any Error>?>(nil)
    let ended = DispatchSemaphore(value: 0)
    let task = Task.detached {
      let outcome: Result<Value, any Error>
      do { outcome = .success(try await work()) } catch { outcome = .failure(error) }
      result.withLock { $0 = outcome }
      ended.signal()
    }
    state.withLock { state in
      state.tasks.append { signal in
        if let stop { stop(name(of: signal)) } else { task.cancel() }
      }
    }
    ended.wait()
    guard let outcome = result.withLock({ $0 }) else { throw CancellationError() }
    return try outcome.get()
  }

  /// Ends the process as the signal's number says, with one line about it.
  static func end(_ signal: Int32) -> Never {
    let name = Self.name(of: signal)
    let isOnline = state.withLock { !$0.connections.isEmpty || !$0.tasks.isEmpty }
    let text =
      "jam-retention: \(LastLine.command) was stopped by \(name); \(isOnline ? "what it has committed stays, and " : "")"
      + "it can be started again"
    LastLine.write(text, event: "command stopped", .warning, ["signal": "\(name)"])
    exit(128 + signal)
  }

  private static func name(of signal: Int32) -> String { signal == SIGINT ? "SIGINT" : "SIGTERM" }

  private static func receive(_ signal: Int32) {
    let running = state.withLock { state -> (connections: [Connection], tasks: [@Sendable (Int32) -> Void])? in
      guard state.signal == nil else { return nil }
      state.signal = signal
      return (state.connections, state.tasks)
    }
    guard let (connections, tasks) = running else { _exit(128 + signal) }
    guard !connections.isEmpty || !tasks.isEmpty else { end(signal) }
    tasks.forEach { $0(signal) }
    // Apart from this queue, on which the second signal comes.
    Thread { connections.forEach { $0.interrupt() } }.start()
  }
}
