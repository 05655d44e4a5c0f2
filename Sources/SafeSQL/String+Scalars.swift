extension String {
  /// Replaces as every program in C does, Unicode scalar by scalar.
  ///
  /// `replacing` compares characters, and Swift takes a quote and the combining mark after it for one character, which is
  /// no quote; to PostgreSQL it is one.
  package func replacingScalars(_ old: String, with new: String) -> String {
    guard let first = old.utf8.first, utf8.contains(first) else { return self }
    return String(decoding: Array(utf8).replacing(Array(old.utf8), with: Array(new.utf8)), as: UTF8.self)
  }

  /// Whether the text occurs, found scalar by scalar: a mark after it hides nothing.
  package func containsScalars(_ text: String) -> Bool {
    guard let first = text.utf8.first, utf8.contains(first) else { return text.isEmpty }
    return Array(utf8).contains(Array(text.utf8))
  }

  /// Whether both have the same scalars, which is what makes two names one to PostgreSQL; `==` takes the spellings of an
  /// accented letter, in one scalar or in two, for the same.
  package func hasSameScalars(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
