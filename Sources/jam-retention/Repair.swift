import ArgumentParser
import RetentionRunner

struct Repair: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Correct every count that is wrong.")
  @OptionGroup var options: DatabaseOptions

  func run() throws {
    print("corrected \(try options.database().repair()) counts")
  }
}
