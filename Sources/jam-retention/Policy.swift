import ArgumentParser
import Foundation
import RetentionRunner

struct Policy: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "The policy row.", subcommands: [Show.self, Set.self])

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the policy.")
    @OptionGroup var options: DatabaseOptions

    func run() throws {
      let session = try options.session()
      session.format.show(try session.database().policy())
    }
  }

  struct Set: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change the policy, after a look at what that makes of the next cleanup.",
      discussion: """
        A change with which a cleanup would delete more, or archive less of it, is asked about on a terminal; elsewhere it \
        needs --yes. Any other is made at once.
        """
    )
    @OptionGroup var options: DatabaseOptions

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @Argument(help: "column=value; an empty value sets NULL.")
    var assignments: [String]

    func validate() throws {
      for assignment in assignments where !assignment.contains("=") {
        throw ValidationError("\"\(assignment)\" is no assignment; write column=value")
      }
    }

    func run() throws {
      let session = try options.session(.changes)
      let database = try session.database()
      let wanted = assignments.map { assignment -> (column: String, value: String?) in
        let parts = assignment.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        return (parts[0], parts[1].isEmpty ? nil : parts[1])
      }
      let changes = try database.setPolicy(wanted) { changes, effect in
        guard let effect else { return true }
        session.format.show(effect)
        return try yes || !effect.deletesMore || isConfirmed(changes)
      }
      for change in changes { session.format.show(change) }
      if changes.isEmpty { session.format.remark("nothing to do") }
    }

    /// Asks whoever sits at the terminal.
    ///
    /// - Throws: when nobody does, and `ExitCode.failure` when the answer is no.
    private func isConfirmed(_ changes: [PolicyChange]) throws -> Bool {
      guard [FileHandle.standardInput, .standardError].allSatisfy({ isatty($0.fileDescriptor) == 1 }) else {
        throw RunnerError(
          "with this change a cleanup would delete more or archive less; nothing was changed, repeat it with --yes"
        )
      }
      let text = changes.map { "\($0.column) \($0.old ?? "NULL") → \($0.new ?? "NULL")" }.joined(separator: ", ")
      FileHandle.standardError.write(Data("Set \(text)? A cleanup would delete more or archive less. [y/N] ".utf8))
      if ["y", "yes"].contains(readLine()?.lowercased()) { return true }
      FileHandle.standardError.write(Data("nothing was changed\n".utf8))
      throw ExitCode.failure
    }
  }
}
