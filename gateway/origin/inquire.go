package origin

import (
	"errors"
	"time"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
	"yatagarasu/sign"

	"github.com/valyala/fasthttp"
)

// listOne is the query for a list of one key. One of none will not do: to that MinIO says
// 200 even where there is no bucket.
const listOne = "list-type=2&max-keys=1"

// InquireBucket asks for the bucket itself. A HEAD does not always say why it is refused; a
// list does. exact asks for the list after every refusal, for the origin's own words.
func (p *Replica) InquireBucket(exact bool) (Inquiry, error) {
	a, err := p.Inquire(fasthttp.MethodHead, p.Address.bucketPath(), "", nil)
	if err == nil && (a.unclear || exact && a.Status >= 300) {
		return p.Inquire(fasthttp.MethodGet, p.Address.bucketPath(), listOne, nil)
	}
	return a, err
}

// Inquiry is the answer to a request of the gateway's own.
type Inquiry struct {
	Status  int
	unclear bool             // the answer to HEAD says too little
	body    []byte           // the beginning of it
	Doc     s3error.Document // of an error
}

// Inquire sends a request of the gateway's own, once.
func (p *Replica) Inquire(method string, path []byte, query string, headers []sign.Header) (Inquiry, error) {
	return p.inquireUpTo(s3error.DocumentLimit, method, path, query, headers)
}

// inquireUpTo is inquire with a bound of its own for the answer's body, in bytes.
func (p *Replica) inquireUpTo(limit int, method string, path []byte, query string, headers []sign.Header) (a Inquiry, err error) {
	var x pool.Exchange
	begin := time.Now()
	signer := p.Credentials.Signer(begin)
	if signer == nil {
		return a, errNoCredential
	}
	head := p.appendHead(nil, signer, method, path, []byte(query), headers, nil, p.Health.clock(begin))
	if err := p.Upstream.Do(&x, head, method == fasthttp.MethodHead); err != nil {
		return a, err
	}
	defer x.Close()
	p.Health.observeDate(&x.Header, begin, time.Now())
	a.Status = x.Header.StatusCode()
	defer func() {
		var refusal *s3error.Kind
		if a.Status >= 300 {
			refusal = a.Doc.Kind(a.Status)
		}
		a.Doc.ReadRegion(&x.Header)
		p.proof.noteAnswer(signer, a.Status, refusal, a.Doc.Code, time.Now())
	}()
	if method == fasthttp.MethodHead {
		a.unclear = unclear(&x.Header)
		return a, nil
	}
	a.body, err = x.Document(limit)
	var e *pool.Error
	if errors.As(err, &e) && (len(a.body) == 0 || a.Status < 300) {
		return a, err
	}
	if a.Status >= 300 {
		a.Doc = s3error.Parse(a.body)
	}
	return a, nil
}
