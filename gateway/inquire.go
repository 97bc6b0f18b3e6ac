package gateway

import (
	"errors"
	"time"
	"yatagarasu/pool"
	"yatagarasu/sign"

	"github.com/valyala/fasthttp"
)

// listOne is the query for a list of one key. One of none will not do: to that MinIO says
// 200 even where there is no bucket.
const listOne = "list-type=2&max-keys=1"

// inquireBucket asks for the bucket itself. A HEAD does not always say why it is refused; a
// list does. exact asks for the list after every refusal, for the origin's own words.
func (p *replica) inquireBucket(exact bool) (inquiry, error) {
	a, err := p.inquire(fasthttp.MethodHead, p.origin.bucketPath(), "", nil)
	if err == nil && (a.unclear || exact && a.status >= 300) {
		return p.inquire(fasthttp.MethodGet, p.origin.bucketPath(), listOne, nil)
	}
	return a, err
}

// inquiry is the answer to a request of the gateway's own.
type inquiry struct {
	status  int
	unclear bool       // the answer to HEAD says too little
	body    []byte     // the beginning of it
	doc     s3ErrorDoc // of an error
}

// inquire sends a request of the gateway's own, once.
func (p *replica) inquire(method string, path []byte, query string, headers []sign.Header) (inquiry, error) {
	return p.inquireUpTo(documentLimit, method, path, query, headers)
}

// inquireUpTo is inquire with a bound of its own for the answer's body, in bytes.
func (p *replica) inquireUpTo(limit int, method string, path []byte, query string, headers []sign.Header) (a inquiry, err error) {
	var x pool.Exchange
	begin := time.Now()
	signer := p.credentials.Signer(begin)
	if signer == nil {
		return a, errNoCredential
	}
	head := p.appendHead(nil, signer, method, path, []byte(query), headers, nil, p.health.clock(begin))
	if err := p.upstream.Do(&x, head, method == fasthttp.MethodHead); err != nil {
		return a, err
	}
	defer x.Close()
	p.health.observeDate(&x.Header, begin, time.Now())
	a.status = x.Header.StatusCode()
	defer func() {
		var refusal *s3Outcome
		if a.status >= 300 {
			refusal = a.doc.outcome(a.status)
		}
		a.doc.readRegion(&x.Header)
		p.proof.noteAnswer(signer, a.status, refusal, a.doc.Code, time.Now())
	}()
	if method == fasthttp.MethodHead {
		a.unclear = unclear(&x.Header)
		return a, nil
	}
	a.body, err = x.Document(limit)
	var e *pool.Error
	if errors.As(err, &e) && (len(a.body) == 0 || a.status < 300) {
		return a, err
	}
	if a.status >= 300 {
		a.doc = parseS3Error(a.body)
	}
	return a, nil
}
