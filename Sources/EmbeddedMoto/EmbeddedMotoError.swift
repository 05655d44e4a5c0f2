/// Why a server of moto could not be started.
struct EmbeddedMotoError: Error, CustomStringConvertible {
  /// One line.
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
