import Foundation
import Synchronization

/// Something that runs beside the measurement, on a thread of its own.
final class Background: Sendable {
  private let outcome = Mutex<Result<Void, any Error>?>(nil)

  init(_ body: @escaping @Sendable () throws -> Void) {
    Thread { self.outcome.withLock { [result = Result(catching: body)] in $0 = result } }.start()
  }

  var isFinished: Bool { outcome.withLock { $0 != nil } }

  /// Waits for its end and throws what it has thrown.
  func wait() throws {
    while !isFinished { usleep(1_000) }
    try outcome.withLock { $0 }?.get()
  }
}
