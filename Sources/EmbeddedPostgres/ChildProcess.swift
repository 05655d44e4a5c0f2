import Foundation
import Synchronization

/// A program that this process has started and reaps itself.
///
/// Foundation's `Process` does not say which thread it forks from, and that decides when a parent-death signal comes: the
/// kernel sends it when the *thread* ends (`prctl(2)`, `PR_SET_PDEATHSIG`). Here one thread starts the program and waits
/// for it until it ends.
package final class ChildProcess: Sendable {
  private enum State {
    case starting
    case failed(Int32)
    case running(pid_t)
    case ended(Int32)
  }

  private let state = Mutex(State.starting)

  /// Starts a program, found in `PATH` unless named by its path, in a process group of its own: what the terminal sends to
  /// the foreground, such as an interrupt, is not for it.
  package static func start(_ command: [String], directory: String, output: Int32, error: Int32) throws -> ChildProcess
  {
    let child = ChildProcess()
    let thread = Thread {
      switch spawn(command, directory: directory, output: output, error: error) {
      case .failure(let failure): child.state.withLock { $0 = .failed(failure.code) }
      case .success(let process):
        child.state.withLock { $0 = .running(process) }
        child.reap(process)
      }
    }
    thread.start()
    while true {
      switch child.state.withLock({ $0 }) {
      case .starting: usleep(500)
      case .failed(let code):
        throw EmbeddedPostgresError("\(command.first ?? "") cannot be started: \(String(cString: strerror(code)))")
      case .running, .ended: return child
      }
    }
  }

  /// Runs a program to its end and returns what it wrote.
  package static func run(
    _ command: [String],
    directory: String = "/"
  ) throws -> (status: Int32, output: String, error: String) {
    // Files rather than pipes: they need no reader and never fill up.
    let output = try TemporaryFile()
    let error = try TemporaryFile()
    let child = try start(command, directory: directory, output: output.descriptor, error: error.descriptor)
    let status = child.wait(until: .distantFuture) ?? -1
    return (status, output.contents(), error.contents())
  }

  /// The process, as long as it has not ended.
  package var identifier: pid_t? {
    state.withLock { if case .running(let process) = $0 { process } else { nil } }
  }

  /// Sends a signal, unless the process has ended: its number may be another's by then.
  package func send(_ signal: Int32) {
    state.withLock { if case .running(let process) = $0 { kill(process, signal) } }
  }

  /// Waits for the end and returns the exit status, 128 more than the number of a signal, or `nil` when time is up.
  package func wait(until deadline: Date) -> Int32? {
    repeat {
      if case .ended(let status) = state.withLock({ $0 }) { return status }
      usleep(2_000)
    } while Date() < deadline
    return nil
  }

  private func reap(_ process: pid_t) {
    var information = siginfo_t()
    // Seen first, reaped under the lock: until then the number stays taken, so that no signal goes astray.
    while waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT) == -1, errno == EINTR {}
    state.withLock {
      var status: Int32 = 0
      waitpid(process, &status, 0)
      let signal = status & 0x7f
      $0 = .ended(signal == 0 ? (status >> 8) & 0xff : 128 + signal)
    }
  }

  private struct SpawnFailure: Error {
    let code: Int32
  }

  private static func spawn(
    _ command: [String],
    directory: String,
    output: Int32,
    error: Int32
  ) -> Result<pid_t, SpawnFailure> {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, error, 2)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var noSignals = sigset_t()
    sigemptyset(&noSignals)
    // Foundation's threads block signals, and a blocked signal stays blocked in a program that they start.
    posix_spawnattr_setsigmask(&attributes, &noSignals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))

    // Swift does not import glibc's own way to change the directory. The current one may be closed to the user `postgres`.
    let program = "env"
    var arguments = ([program, "--chdir=\(directory)"] + command).map { strdup($0) }
    arguments.append(nil)
    defer { arguments.forEach { free($0) } }
    var process: pid_t = 0
    let code = posix_spawnp(&process, program, &actions, &attributes, arguments, environ)
    return code == 0 ? .success(process) : .failure(SpawnFailure(code: code))
  }
}
