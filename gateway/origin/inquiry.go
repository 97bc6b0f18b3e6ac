package origin

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// Inquiry is the answer to a request of the gateway's own, which no client waits for.
type Inquiry struct {
	Status    int
	ambiguous bool             // the answer to HEAD says too little
	body      []byte           // the beginning of it
	Doc       s3error.Document // of an error
}

// Inquire sends a request of the gateway's own, once. limit bounds what is read of the
// answer's body, in bytes.
func (r *Replica) Inquire(method string, path []byte, query string, headers []sign.Header, limit int) (a Inquiry, err error) {
	x := pool.Exchange{Listed: true}
	begin := time.Now()
	signer := r.Credentials.Signer(begin)
	if signer == nil {
		return a, errNoCredential
	}
	head := r.appendHead(nil, signer, method, path, []byte(query), headers, nil, r.Health.clock(begin))
	if err := r.Upstream.Do(&x, head, method == fasthttp.MethodHead); err != nil {
		return a, err
	}
	defer x.Close()
	r.Health.observeDate(&x.Header, begin, time.Now())
	a.Status = x.Header.StatusCode()
	refused := a.Status >= 300
	if method == fasthttp.MethodHead {
		a.ambiguous = ambiguous(&x.Header)
	} else if a.body, err = x.Document(limit); refused && len(a.body) > 0 {
		a.Doc, err = s3error.Parse(a.body), nil // what has come of it may do
	}
	var kind *s3error.Kind
	if refused {
		kind = a.Doc.Kind(a.Status)
	}
	a.Doc.ReadRegion(&x.Header)
	r.proof.noteAnswer(signer, a.Status, kind, a.Doc.Code, time.Now())
	return a, err
}

// listOne is the query for a list of one key. One of none will not do: to that MinIO says
// 200 even where there is no bucket.
const listOne = "list-type=2&max-keys=1"

// InquireBucket asks for the bucket itself. A HEAD does not always say why it is refused; a
// list does. exact asks for the list after every refusal, for the origin's own words.
func (r *Replica) InquireBucket(exact bool) (Inquiry, error) {
	a, err := r.Inquire(fasthttp.MethodHead, r.Address.bucketPath, "", nil, 0)
	if err == nil && (a.ambiguous || exact && a.Status >= 300) {
		return r.Inquire(fasthttp.MethodGet, r.Address.bucketPath, listOne, nil, s3error.DocumentLimit)
	}
	return a, err
}

// Bounds of a list of objects.
const (
	listLimit = 16 << 20 // bytes of one page: a thousand keys of 1024 bytes, encoded
	listTries = 3        // for one page
)

// listedPage is an answer to ListObjectsV2.
type listedPage struct {
	IsTruncated           bool
	NextContinuationToken string
	EncodingType          string
	Contents              []Listed
}

// Listed is an object to fetch; Err ends the list.
type Listed struct {
	Key  string
	Size int64 // -1: not known
	Err  error `xml:"-"`
}

// List yields the objects of the replica, under the keys that clients have for them, whose keys
// begin with prefix, as S3 lists them.
func (r *Replica) List(ctx context.Context, prefix string) iter.Seq[Listed] {
	return func(yield func(Listed) bool) {
		for token := ""; ; {
			page, err := r.listPage(ctx, prefix, token)
			if err == nil && page.IsTruncated && (page.NextContinuationToken == "" || page.NextContinuationToken == token) {
				err = errors.New("the origin does not say how the list goes on")
			}
			if err != nil {
				yield(Listed{Err: fmt.Errorf("cannot list the bucket: %w", err)})
				return
			}
			for _, o := range page.Contents {
				key, below := strings.CutPrefix(o.Key, r.S3.KeyPrefix)
				if o.Key = key; below && key != "" && !yield(o) {
					return
				}
			}
			if token = page.NextContinuationToken; !page.IsTruncated {
				return
			}
		}
	}
}

// listPage asks for a page of the list, a few times if the origin fails.
func (r *Replica) listPage(ctx context.Context, prefix, token string) (page listedPage, err error) {
	query := []byte("encoding-type=url&list-type=2&max-keys=1000&prefix=") // keys may have what XML cannot carry
	if token != "" {
		query = append(sign.AppendQueryComponent([]byte("continuation-token="), token), "&"+string(query)...)
	}
	query = sign.AppendQueryComponent(query, r.S3.KeyPrefix+prefix)
	for try := 1; ctx.Err() == nil; try++ {
		a, err := r.Inquire(fasthttp.MethodGet, r.Address.bucketPath, string(query), nil, listLimit)
		again := err != nil && err != errNoCredential
		switch {
		case err != nil:
		case a.Status == fasthttp.StatusOK:
			return parseListedPage(a.body)
		default:
			again = a.Doc.Kind(a.Status).Passing()
			err = errors.New(strings.TrimSpace(fmt.Sprintf("the origin answers %d %s", a.Status, a.Doc.Code)))
		}
		if !again || try == listTries {
			return page, err
		}
		select {
		case <-time.After(backoff(try)):
		case <-ctx.Done():
		}
	}
	return page, ctx.Err()
}

func parseListedPage(doc []byte) (page listedPage, err error) {
	err = xml.Unmarshal(doc, &page)
	for i := range page.Contents {
		if o := &page.Contents[i]; err == nil && page.EncodingType == "url" {
			o.Key, err = url.QueryUnescape(o.Key)
		}
	}
	if err != nil {
		err = fmt.Errorf("its answer is no list: %w", err)
	}
	return page, err
}
