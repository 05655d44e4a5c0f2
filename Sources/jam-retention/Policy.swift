import ArgumentParser
import RetentionRunner

struct Policy: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "The policy row.", subcommands: [Show.self, Set.self])

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the policy.")
    @OptionGroup var options: DatabaseOptions

    func run() throws {
      let policy = try options.database().policy()
      try options.show(policy.columns, policy.rows)
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
      let database = try options.database()
      try database.connection.transaction {
        for assignment in assignments {
          let parts = assignment.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
          try database.setPolicy(parts[0], to: parts[1].isEmpty ? nil : parts[1])
        }
      }
    }
  }
}
