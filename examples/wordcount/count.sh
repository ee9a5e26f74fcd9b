#!/bin/sh
# Counts the words of a text: count.sh INPUT. Writes result.tsv in the working directory, one word in a line with its
# number, the most frequent first.
set -eu

input=${1:?usage: count.sh INPUT}
if [ ! -r "$input" ]; then
    echo "count.sh: $input is not there or can not be read" >&2
    exit 1
fi

echo "counting the words of $(basename "$input") as $(id -un) on $(uname -n)"
tr -cs '[:alpha:]' '\n' <"$input" | tr '[:upper:]' '[:lower:]' | grep . | sort | uniq -c | sort -k1,1nr -k2 |
    awk '{ print $2 "\t" $1 }' >result.tsv

echo "lines in the text:  $(wc -l <"$input")"
echo "different words:    $(wc -l <result.tsv)"
echo "the most frequent:"
head -n 5 result.tsv | sed 's/^/    /'
