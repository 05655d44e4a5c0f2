import ArgumentParser
import MigrationGenerator
import Postgres
import RetentionRunner

struct Migrate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Apply the migrations.",
    subcommands: [Up.self, Plan.self, MigrateStatus.self, MigrateVerify.self]
  )

  struct Options: ParsableArguments {
    @OptionGroup var database: DatabaseOptions

    @Option(help: "Apply the reviewed files of this folder instead of what the model yields.")
    var from: String?

    func migrator() throws -> Migrator { try migrator(on: database.connect()) }

    func migrator(on connection: Connection) throws -> Migrator {
      let model = try database.model.checked()
      let files = try from.map { try GeneratedFiles.read(folder: $0) } ?? MigrationGenerator.files(for: model)
      return try Migrator(files: files, model: model, connection: connection, logger: database.logger())
    }
  }

  struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Apply what is pending.")
    @OptionGroup var options: Options

    func run() throws {
      let applied = try options.migrator().up()
      print(applied.isEmpty ? "nothing to do" : applied.map { "applied \($0)" }.joined(separator: "\n"))
    }
  }

  struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what would be applied.")
    @OptionGroup var options: Options

    func run() throws {
      for (migration, state) in try options.migrator().plan() where state != .current {
        print("\(state.rawValue) \(migration.name)")
      }
    }
  }

  struct MigrateStatus: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Show the state of every file.")
    @OptionGroup var options: Options

    func run() throws {
      for (migration, state) in try options.migrator().plan() { print("\(state.rawValue) \(migration.name)") }
    }
  }

  struct MigrateVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "verify",
      abstract: "Exit 3 when files and database do not agree."
    )
    @OptionGroup var options: Options

    func run() throws {
      let differing = try options.migrator().plan().filter { $0.state != .current }
      for (migration, state) in differing { print("\(state.rawValue) \(migration.name)") }
      if !differing.isEmpty { throw ExitCode.findings }
    }
  }
}
