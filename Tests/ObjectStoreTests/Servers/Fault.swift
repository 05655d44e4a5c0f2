/// What the proxy does with a request instead of passing it on, or with the answer.
enum Fault: Sendable {
  /// Reads the request and answers it itself.
  case answer(String, headers: [String] = [], body: String = "")
  /// Closes the connection hard after so many bytes of the request's body.
  case reset(afterBody: Int)
  /// Passes the request on with one bit of the last byte of its body turned.
  case damage
  /// Passes so many bytes of the answer on, head included, then closes the connection hard.
  case resetAnswer(after: Int)
  /// Passes so many bytes of the answer on, head included, then closes the connection properly.
  case truncate(after: Int)
  /// Reads the head of the request and nothing more, and never answers.
  case stall
  /// Passes so many bytes of the answer on, head included, then none.
  case stallAnswer(after: Int)
  /// Passes the request on, and closes the connection hard in place of the answer.
  case loseAnswer
}
