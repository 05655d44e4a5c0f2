import ArgumentParser
import RetentionRunner

struct Policy: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "The policy row.", subcommands: [Show.self, Set.self])

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the policy.")
    @OptionGroup var options: DatabaseOptions

    func run() throws {
      let session = try options.session()
      guard let policy = try session.database().policy().first else {
        throw RunnerError("the policy has no row; apply the migrations again")
      }
      session.format.show(policy)
    }
  }

  struct Set: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change the policy.")
    @OptionGroup var options: DatabaseOptions

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
      let changes = try database.connection.transaction {
        try assignments.compactMap { assignment in
          let parts = assignment.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
          return try database.setPolicy(parts[0], to: parts[1].isEmpty ? nil : parts[1])
        }
      }
      changes.forEach(session.format.show)
      if changes.isEmpty { session.format.remark("nothing to do") }
    }
  }
}
