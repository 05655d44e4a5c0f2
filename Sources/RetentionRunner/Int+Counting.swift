extension Int {
  /// The number with a noun, for people: `1 blob`, `2 blobs`.
  package func counting(_ noun: String, plural: String? = nil) -> String {
    self == 1 ? "1 \(noun)" : "\(self) \(plural ?? "\(noun)s")"
  }
}
