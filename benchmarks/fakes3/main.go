// A server that speaks S3 and keeps objects in its memory: fast enough to be no part of a figure.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

func main() {
	server := gofakes3.New(s3mem.New()).Server()
	log.Fatal(http.ListenAndServe(os.Args[1], server))
}
