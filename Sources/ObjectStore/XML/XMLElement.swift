/// An element of a store's answer. Attributes are checked and left out: S3 has only namespaces there.
struct XMLElement: Equatable {
  /// Without the prefix of a namespace.
  let name: String
  var children: [XMLElement] = []
  /// The text directly in this element.
  var text = ""

  subscript(name: String) -> String? {
    children.first { $0.name == name }?.text
  }

  func all(_ name: String) -> [XMLElement] {
    children.filter { $0.name == name }
  }
}
