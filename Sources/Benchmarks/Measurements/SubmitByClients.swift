/// The hot key again, from one client to more than the machine has processors.
struct SubmitByClients: Measurement {
  let name = "submit-clients"
  let title = "a package of four blobs, one of them everybody's, by number of clients"

  func run(_ bench: Bench) throws -> [Line] {
    try [1, 2, 4, 8, 16, 32].flatMap { clients in
      try Submit.lines(
        bench,
        Comparison(
          measurement: name,
          what: "a package with a hot key, \(clients) \(clients == 1 ? "client" : "clients")",
          unit: .perSecond,
          reference: .none
        ),
        script: Submit.script(hot: true),
        clients: clients,
        variants: Submit.variants
      )
    }
  }
}
