import Testing

@testable import RetentionModel

@Suite struct SuggestionTests {
  @Test(
    "A name that is close is suggested, one that is not is not",
    arguments: [
      ("prefx", "prefix"), ("PREFIX", "prefix"), ("tabels", "tables"), ("clases", "classes"), ("shema", "schema"),
      ("storage", nil), ("x", nil), ("", nil),
    ] as [(String, String?)]
  )
  func closest(name: String, expected: String?) {
    #expect(Suggestion.closest(to: name, among: ["schema", "prefix", "tables", "classes"]) == expected)
  }
}
