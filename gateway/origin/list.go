package origin

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/sign"
)

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
	Contents              []struct {
		Key  string
		Size int64
	}
}

// Listed is an object to fetch; err ends the list.
type Listed struct {
	Key  string
	Size int64 // -1: not known
	Err  error
}

// List yields the objects of the replica whose keys begin with prefix, as S3 lists
// them.
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
				if !yield(Listed{Key: o.Key, Size: o.Size}) {
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
	query = sign.AppendQueryComponent(query, prefix)
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return page, err
		}
		a, err := r.inquireUpTo(listLimit, fasthttp.MethodGet, r.Address.bucketPath(), string(query), nil)
		if err == nil && a.Status == fasthttp.StatusOK {
			return parseListedPage(a.body)
		}
		again := err != nil && !errors.Is(err, errNoCredential)
		if err == nil {
			again = a.Doc.Kind(a.Status).Passing()
			if err = fmt.Errorf("the origin answers %d", a.Status); a.Doc.Code != "" {
				err = fmt.Errorf("the origin answers %d %s", a.Status, a.Doc.Code)
			}
		}
		if !again || try == listTries {
			return page, err
		}
		select {
		case <-time.After(backoff(try)):
		case <-ctx.Done():
		}
	}
}

func parseListedPage(doc []byte) (page listedPage, err error) {
	if err := xml.NewDecoder(bytes.NewReader(doc)).Decode(&page); err != nil {
		return page, fmt.Errorf("its answer is no list: %w", err)
	}
	if page.EncodingType != "url" {
		return page, nil
	}
	for i := range page.Contents {
		o := &page.Contents[i]
		if o.Key, err = url.QueryUnescape(o.Key); err != nil {
			return page, fmt.Errorf("its answer is no list: %w", err)
		}
	}
	return page, nil
}
