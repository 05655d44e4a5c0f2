/// A text that nothing prints.
package struct Secret: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
  /// The text itself, for whoever has to send it.
  package let text: String

  package init(_ text: String) {
    self.text = text
  }

  package var description: String { "[redacted]" }
  package var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }
}
