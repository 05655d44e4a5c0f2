/// A text that nothing prints.
struct Secret: Sendable, CustomStringConvertible, CustomReflectable {
  let text: String?

  init(_ text: String?) {
    self.text = text
  }

  var description: String { "[redacted]" }
  var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }
}
