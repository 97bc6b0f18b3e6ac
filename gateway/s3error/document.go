package s3error

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// Document is what the gateway reads of an error document, see "Error
// responses" in the Amazon S3 API Reference. All of it may be the origin's
// invention: none of it is for clients, and a code is for Classify and the log.
// Absent and dubious fields are empty. Its zero value is a document without a code.
type Document struct {
	Code   string
	Region string // the bucket's, with redirects and a malformed scope
	// ActualObjectSize is in bytes, with InvalidRange; -1: not given.
	ActualObjectSize int64 `xml:"-"`
	// Foreign tells that there is a body, but no error document of S3: a proxy, a
	// firewall or another program answers in the origin's place.
	Foreign bool `xml:"-"`
}

// DocumentLimit bounds an error document of an origin, in bytes. That of AWS for a wrong
// signature has the canonical request twice, once in hexadecimal: with a long key and a
// session token, 20 KB.
const DocumentLimit = 64 << 10

// maxWord bounds the code and the region of an error document, in bytes.
const maxWord = 64

// Parse reads the body of an error, of at most DocumentLimit bytes. Where that is
// no error document, or not well-formed up to the end of that, only Foreign is set; an empty
// body is not foreign. Entities that the document declares are not known to the parser:
// there is nothing that could expand.
func Parse(body []byte) Document {
	var d struct {
		XMLName xml.Name `xml:"Error"`
		Document
		Size string `xml:"ActualObjectSize"`
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(body[:min(len(body), DocumentLimit)], byteOrderMark))
	if len(body) == 0 {
		return Document{ActualObjectSize: -1}
	}
	parser := xml.NewDecoder(bytes.NewReader(asXML10(body)))
	parser.CharsetReader = readCharset
	err := parser.Decode(&d)
	e := d.Document
	if e.Code = word(e.Code); err != nil || e.Code == "" {
		return Document{ActualObjectSize: -1, Foreign: true}
	}
	e.Region = word(e.Region)
	e.ActualObjectSize = -1
	if size, err := strconv.ParseUint(strings.TrimSpace(d.Size), 10, 63); err == nil && size < math.MaxInt64 {
		e.ActualObjectSize = int64(size)
	}
	return e
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// asXML10 returns doc with its declaration of XML 1.1 changed to 1.0, the only version
// that the parser takes. What differs, names and line ends, error documents do not have.
func asXML10(doc []byte) []byte {
	declaration, rest, found := bytes.Cut(doc, []byte("?>"))
	if !found || !bytes.HasPrefix(declaration, []byte("<?xml")) {
		return doc
	}
	declaration = bytes.Replace(declaration, []byte("1.1"), []byte("1.0"), 1)
	return slices.Concat(declaration, []byte("?>"), rest)
}

// readCharset returns the document that is read from r, which is in another encoding
// than "UTF-8", as UTF-8. Letters beyond ASCII do not matter: code and region have none.
func readCharset(charset string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(charset) {
	case "utf8", "us-ascii", "ascii":
		return r, nil
	case "iso-8859-1", "iso8859-1", "latin1", "latin-1", "windows-1252":
		b, err := io.ReadAll(r)
		return bytes.NewReader(bytes.ToValidUTF8(b, []byte("?"))), err
	}
	return nil, errors.New("an encoding that no S3 server uses")
}

// ReadRegion takes the bucket's region from a head, where the document has none.
func (e *Document) ReadRegion(h *fasthttp.ResponseHeader) {
	if v := h.Peek("X-Amz-Bucket-Region"); e.Region == "" && len(v) > 0 {
		e.Region = word(string(v))
	}
}

// word returns s without the space around it, or "" where that is too long, or has
// others than letters, digits, and what codes and regions have between them. It keeps
// the log free of what an origin may invent.
func word(s string) string {
	s = strings.TrimSpace(s)
	dubious := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-_:+/=", c)
	}
	if len(s) > maxWord || strings.ContainsFunc(s, dubious) {
		return ""
	}
	return s
}
