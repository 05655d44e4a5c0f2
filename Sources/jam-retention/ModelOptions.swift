import ArgumentParser
import RetentionModel
import RetentionRunner

/// Which model a command works with.
struct ModelOptions: ParsableArguments {
  @Option(help: "A YAML file with the model; default: the JAM model.")
  var model: String?

  @Option(help: "The PostgreSQL schema of the tables; default: the model's.")
  var schema: String?

  @Option(help: "When counts are applied; default: the model's.")
  var refcounting: RefcountingMode?

  var flags: [ConfigurationFlag] {
    [
      ConfigurationFlag(.model, "--model", model), ConfigurationFlag(.schema, "--schema", schema),
      ConfigurationFlag(.refcounting, "--refcounting", refcounting?.rawValue),
    ]
  }
}

extension RefcountingMode: ExpressibleByArgument {}
