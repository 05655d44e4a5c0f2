import ArgumentParser
import MigrationGenerator
import RetentionRunner

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write the SQL migrations; only files that differ are touched."
  )

  @OptionGroup var model: ModelOptions

  @Option(help: "The folder to write to.")
  var out = "sql"

  @Flag(help: "Write nothing; exit 3 when files differ from what the model yields.")
  var check = false

  func run() throws {
    let files = GeneratedFiles(folder: out, files: MigrationGenerator.files(for: try model.checked()))
    let differences = check ? files.differences() : try files.write()
    for difference in differences {
      print("\(check ? difference.kind.rawValue : "wrote") \(out)/\(difference.path)")
    }
    if check && !differences.isEmpty { throw ExitCode.findings }
  }
}
