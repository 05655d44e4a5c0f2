extension Int {
  /// The number with a noun, for people: `1 blob`, `2 blobs`.
  package func counting(_ noun: String, plural: String? = nil) -> String { "\(self) \(of(noun, plural: plural))" }

  /// The form of a word that goes with the number: `blob` with 1, else `blobs`.
  func of(_ noun: String, plural: String? = nil) -> String { self == 1 ? noun : plural ?? "\(noun)s" }
}
