import RetentionModel
import Testing

@Suite struct JAMModelTests {
  @Test("Everything that the JAM model names is there")
  func names() {
    let model = RetentionModel.jam
    let tables = Dictionary(uniqueKeysWithValues: model.tables.map { ($0.name, Set($0.columns.map(\.name))) })
    for reference in model.references {
      #expect(tables[reference.table]?.isSuperset(of: reference.columns) == true)
    }
    for dataClass in model.classes {
      #expect(tables[dataClass.table]?.contains(dataClass.timestamp) == true)
      #expect(dataClass.parts.allSatisfy { tables[$0.table] != nil })
    }
  }
}
