import ArgumentParser
import Logging
import RetentionRunner

/// What every command understands.
struct CommonOptions: ParsableArguments {
  @Option(
    help: "A YAML or JSON file with keys below runtime.jam; default: what \(RetentionConfiguration.fileVariable) names."
  )
  var config: String?

  @Option(help: "How results are printed.")
  var format = OutputFormat.text

  @OptionGroup var log: LogOptions
}
