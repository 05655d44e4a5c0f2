import Testing

@testable import ObjectStore

@Suite struct XMLReaderTests {
  private static let listing = """
    <?xml version="1.0" encoding="UTF-8"?>
    <!-- a comment -->
    <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/" xmlns:xsi='x &gt; y'>
      <Contents><Key>a &amp; b&#13;&#x1F600;&#x1;<![CDATA[<&]]></Key><Size>5</Size></Contents>
      <Contents ><Key>c</Key ><Empty/></Contents>
      <xsi:IsTruncated>true</xsi:IsTruncated>
    </ListBucketResult>

    """

  @Test func readsWhatStoresSend() throws {
    let root = try XMLReader.read(Array(Self.listing.utf8))
    #expect(root.name == "ListBucketResult")
    #expect(root.all("Contents").map { $0["Key"] } == ["a & b\r\u{1F600}\u{1}<&", "c"])
    #expect(root.all("Contents").map { $0["Empty"] } == [nil, ""])
    #expect(root["IsTruncated"] == "true")
  }

  @Test func refusesEveryBeginningOfADocument() {
    let whole = Array(Self.listing.utf8)
    let end = Self.listing.utf8.count - 2
    for count in 0..<end {
      #expect(throws: XMLReader.Failure.self, "\(count) bytes") { try XMLReader.read(Array(whole.prefix(count))) }
    }
  }

  @Test(arguments: [
    "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
    "<?xml version=\"1.0\"?><!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
    "<a>&b;</a>", "<a>&#0;</a>", "<a>&#xD800;</a>", "<a>&#1114112;</a>", "<a>&amp</a>", "<a>&#-1;</a>", "<a>&#x+1;</a>",
    "<a><b></a></b>", "<a></A>", "<a>", "<a/><b/>", "<a/>x", "x<a/>", "<a b></a>", "<a b=c/>", "<a b=\"<\"/>",
    "<a b=\"1\"c=\"2\"/>", "< a/>", "<a><!-- </a>", "<a><![CDATA[ </a>", "<a",
    String(repeating: "<a>", count: 17) + String(repeating: "</a>", count: 17),
  ]) func refuses(text: String) {
    #expect(throws: XMLReader.Failure.self) { try XMLReader.read(Array(text.utf8)) }
  }

  @Test func refusesWhatIsNoUTF8() {
    #expect(throws: XMLReader.Failure.self) { try XMLReader.read(Array("<a>".utf8) + [0xFF] + Array("</a>".utf8)) }
  }

  @Test func quadraticBlowUpIsNone() throws {
    // A megabyte of references takes about as long as a megabyte of text.
    let text = "<a>" + String(repeating: "&amp;", count: 200_000) + "</a>"
    #expect(try XMLReader.read(Array(text.utf8)).text.utf8.count == 200_000)
  }
}
