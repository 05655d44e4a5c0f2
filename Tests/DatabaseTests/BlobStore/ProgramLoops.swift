import EmbeddedPostgres
import Foundation
import Synchronization

/// The built program, run again and again with several commands at once, until told to stop.
final class ProgramLoops: Sendable {
  private struct State {
    var loops = 0
    var running: [Int: ChildProcess] = [:]
    var completed = 0
    var killed = 0
    var unexpected: [String: Int] = [:]
  }

  /// It lies beside the test bundle.
  private static let program = Bundle.main.bundleURL.appending(path: "jam-retention").path

  private let arguments: [String]
  private let directory: String
  private let state = Mutex(State())
  private let isStopping = Atomic(false)
  private let threads = DispatchGroup()

  /// - Parameters:
  ///   - arguments: what every command gets besides its own.
  ///   - directory: where it runs.
  init(arguments: [String], directory: String) {
    self.arguments = arguments
    self.directory = directory
  }

  /// How many came to their end by themselves.
  var completed: Int { state.withLock(\.completed) }
  /// How many were killed.
  var killed: Int { state.withLock(\.killed) }
  /// What they have written to standard error, other than that the server was gone.
  var unexpected: [String: Int] { state.withLock(\.unexpected) }

  /// Runs a command in a loop, on a thread of its own.
  func start(_ command: @escaping @Sendable () -> [String]) {
    let number = state.withLock { state in
      state.loops += 1
      return state.loops
    }
    threads.enter()
    Thread { [self] in
      defer { threads.leave() }
      while !isStopping.load(ordering: .relaxed) { run(command(), as: number) }
    }.start()
  }

  /// Kills one of the running programs.
  func killOne(using random: inout SeededGenerator) {
    let choice = random.next()
    state.withLock { state in
      let running = state.running.sorted { $0.key < $1.key }
      guard !running.isEmpty else { return }
      running[Int(choice % UInt64(running.count))].value.send(SIGKILL)
    }
  }

  /// Lets every program come to its end.
  func stop() {
    isStopping.store(true, ordering: .relaxed)
    threads.wait()
  }

  private func run(_ command: [String], as number: Int) {
    let log = "\(directory)/log-\(number)"
    let descriptor = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    defer { close(descriptor) }
    let process: ChildProcess
    do {
      process = try ChildProcess.start(
        [Self.program] + command + arguments,
        directory: directory,
        output: descriptor,
        error: descriptor
      )
    } catch {
      return state.withLock { $0.unexpected["\(error)", default: 0] += 1 }
    }
    state.withLock { $0.running[number] = process }
    let status = process.wait(until: .distantFuture)
    let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
    state.withLock { state in
      state.running[number] = nil
      switch status {
      case 0: state.completed += 1
      case 128 + SIGKILL: state.killed += 1
      // The server was killed; it comes back.
      case _ where ["connection", "57P0"].contains(where: text.contains): state.completed += 1
      default: state.unexpected["\(command.joined(separator: " ")): \(text)", default: 0] += 1
      }
    }
  }
}
