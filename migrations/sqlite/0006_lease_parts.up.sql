-- Where places under plans' limits are given out is a question for a database that many share. Here it is always here.
SELECT 1;
