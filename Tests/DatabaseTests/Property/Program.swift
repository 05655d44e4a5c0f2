/// What one session does at one moment. Which package a number picks depends on what is there then, so that a program
/// stays one when steps are taken out of it.
enum Operation: Sendable {
  enum Level: String, CaseIterable, Sendable {
    case readCommitted = "READ COMMITTED"
    case repeatableRead = "REPEATABLE READ"
    case serializable = "SERIALIZABLE"
  }

  case begin(Level)
  case commit
  case rollback
  case savepoint
  case rollbackToSavepoint
  /// Packages in one statement, each with its hashes.
  case submit([[Int]], age: Int)
  case addItem(package: Int, hashes: [Int])
  case addReport(package: Int, hashes: [Int], age: Int)
  case changeReferences(package: Int, hashes: [Int])
  case changeStatus(package: Int)
  case deletePackage(package: Int)
  case setServiceCode(Int)
  case put(Int, age: Int)
  case touch([Int])
  case deleteBlob(Int)
  case truncate(Level, everything: Bool)
  case fold
  case repair
  case cleanup
  /// What cleanups delete is archived for so many days from now on; 0: not at all.
  case archive(days: Int)
  /// One of the archived runs is undone.
  case undo(run: Int)
  case reapplyTriggers
  /// The session's backend is terminated.
  case kill
  /// The server is killed and started again.
  case crash
  /// The oracle is compared with a snapshot.
  case check
}

struct Step: Sendable, CustomStringConvertible {
  var session: Int
  var operation: Operation

  var description: String { "session \(session): \(operation)" }
}

/// A random program of steps on a few sessions.
struct Program: Sendable {
  static let sessions = 4
  /// Few, so that everything meets on the same ones.
  static let hashes = 5

  var steps: [Step]

  init(seed: UInt64, length: Int = 60, crashes: Bool = false, archives: Bool = false) {
    var random = SeededGenerator(seed: seed)
    steps = (0..<length).map { _ in
      Step(
        session: Int.random(in: 0..<Self.sessions, using: &random),
        operation: Self.operation(using: &random, crashes: crashes, archives: archives)
      )
    }
  }

  private static func operation(using random: inout SeededGenerator, crashes: Bool, archives: Bool) -> Operation {
    func number(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &random) }
    func hashes() -> [Int] { (0..<number(4)).map { _ in number(Self.hashes) } }
    func age() -> Int { [0, 5, 29, 31, 60][number(5)] }
    func level() -> Operation.Level { Operation.Level.allCases[number(3)] }
    if archives, number(5) == 0 {
      return switch number(8) {
      case 0: .archive(days: 0)
      case 1..<3: .archive(days: 30)
      case 3..<5: .cleanup
      default: .undo(run: number(4))
      }
    }
    return switch number(100) {
    case 0..<14: .begin(level())
    case 14..<24: .commit
    case 24..<28: .rollback
    case 28..<30: .savepoint
    case 30..<32: .rollbackToSavepoint
    case 32..<46: .submit((0...number(3)).map { _ in hashes() }, age: age())
    case 46..<50: .addItem(package: number(9), hashes: hashes())
    case 50..<55: .addReport(package: number(9), hashes: hashes(), age: age())
    case 55..<59: .changeReferences(package: number(9), hashes: hashes())
    case 59..<61: .changeStatus(package: number(9))
    case 61..<66: .deletePackage(package: number(9))
    case 66..<68: .setServiceCode(number(Self.hashes))
    case 68..<77: .put(number(Self.hashes), age: age())
    case 77..<80: .touch(hashes())
    case 80..<83: .deleteBlob(number(Self.hashes))
    case 83..<84: .truncate(level(), everything: number(2) == 0)
    case 84..<89: .fold
    case 89..<91: .repair
    case 91..<94: .cleanup
    case 94..<95: .reapplyTriggers
    case 95..<96: crashes ? .crash : .kill
    case 96..<97: .kill
    default: .check
    }
  }
}
